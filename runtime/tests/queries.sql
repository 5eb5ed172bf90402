-- Queries that must give the same answers fused and unfused, each in at least one fused stage.
-- One a line; tests/answers.rs reads them when it runs.

-- Filters, alone and with projections above and below.
SELECT * FROM t WHERE i > 0;
SELECT * FROM t WHERE n < 3;
SELECT i, s FROM t WHERE f >= 10.5 AND i IS NOT NULL;
SELECT v, d, day FROM t WHERE b;
SELECT i FROM t WHERE i > 100000;
SELECT i FROM t WHERE i IS NULL OR NOT b;
SELECT i + 1, f * 2.0, n - 3 FROM t;
SELECT i * n AS p, v FROM t WHERE i * n % 7 = 3;
SELECT a + 1 FROM (SELECT i * 2 AS a, b FROM t) WHERE a > 10 AND b;
SELECT -f, abs(i), n / 7, i % 13 FROM t;
SELECT count(*) FROM (SELECT i FROM t WHERE i = 3) WHERE i + 0 = 3;
-- Logic and conditionals.
SELECT b AND i > 0, b OR i > 0, NOT b, b IS NULL, b IS NOT TRUE FROM t;
SELECT CASE WHEN i > 0 THEN 'pos' WHEN i < 0 THEN 'neg' ELSE s END FROM t;
SELECT CASE WHEN n = 0 THEN -1 ELSE 100 / n END FROM t;
SELECT CASE n WHEN 1 THEN 10 WHEN 2 THEN 20 END FROM t;
SELECT coalesce(i, n, 7), nullif(n, 5), coalesce(f, 0.0) FROM t;
SELECT i BETWEEN -10 AND 10, n IN (1, 2, 3, 50, 99), s IN ('apple', 'banana') FROM t;
SELECT i IS DISTINCT FROM n, f IS NOT DISTINCT FROM 1.25 FROM t;
-- Text in all encodings.
SELECT s, v, d FROM t WHERE s = 'apple';
SELECT v FROM t WHERE v > 'banana';
SELECT v FROM t WHERE v LIKE 'app%';
SELECT s FROM t WHERE s ILIKE '%PIE';
SELECT d FROM t WHERE d = 'banana' OR d LIKE '%long%';
SELECT length(s), starts_with(v, 'app'), substr(v, 2, 3) FROM t;
-- Types.
SELECT dec + 1, dec * 2, dec > 10.5, dec * (1 - 0.05) FROM t;
SELECT cast(i AS int), cast(f AS bigint), cast(n AS double), try_cast(i AS tinyint) AS j FROM t;
SELECT extract(year FROM day), date_trunc('month', ts), day > date '1999-05-05' FROM t;
SELECT floor(f), ceil(f), round(f), sqrt(abs(f)), signum(f) FROM t;
-- Functions that are called per batch.
SELECT upper(s), i + 1 FROM t WHERE i > 0;
SELECT md5(v) FROM t WHERE length(v) > 4;
SELECT CASE WHEN i > 0 THEN upper(s) ELSE lower(s) END FROM t;
SELECT reverse(s) || 'x', f + 1 FROM t WHERE reverse(s) > 'e';
-- Aggregates.
SELECT count(*), count(i), sum(i), min(i), max(i), avg(i) FROM t;
SELECT sum(f), avg(f), min(f), max(f) FROM t;
SELECT sum(dec), avg(dec), min(dec), max(dec) FROM t;
SELECT sum(i) FROM t WHERE i > 10;
SELECT sum(i), count(*), min(n) FROM t WHERE i > 1000000;
SELECT sum(i * n) FILTER (WHERE b), count(*) FILTER (WHERE i > 5), sum(n) FROM t WHERE n < 90;
SELECT min(day), max(ts), count(day) FROM t WHERE n > 50;
SELECT sum(CASE WHEN n > 50 THEN i ELSE 0 END), avg(n + 1) FROM t;
SELECT sum(k), sum(id), max(x) FROM big WHERE k > 4;
SELECT sum(length(upper(s))) FROM t WHERE i > 0;
-- Minima and maxima of text and booleans, intervals, greatest and least.
SELECT min(s), max(s), min(v), max(v), min(d), max(d) FROM t;
SELECT min(s) FILTER (WHERE b), max(v), count(*) FROM t WHERE n > 30 AND i > 0;
SELECT max(upper(s)), min(substr(v, 3)) FROM t WHERE n < 40;
SELECT min(b), max(b), bool_and(i > -600), bool_or(n > 98) FROM t WHERE n > 1;
SELECT min(s), max(v), bool_or(b) FROM empty;
SELECT day + INTERVAL '1 month', ts - INTERVAL '1 day 3 hours', day - INTERVAL '30 hours' FROM t;
SELECT i FROM t WHERE day + INTERVAL '2 years' > DATE '2001-05-06' AND ts < TIMESTAMP '2020-01-01' - INTERVAL '1 month';
SELECT greatest(i, n, 3), least(f, 1.5), greatest(s, 'banana'), least(day, DATE '1999-09-09'), greatest(b, n > 5) FROM t;
SELECT count(*) FROM t WHERE s = 'apple' OR s <> 'banana' AND n > 7;
-- Above and below operators that are not fused.
SELECT n % 5 AS g, sum(i + 1) FROM t WHERE i > 0 GROUP BY n % 5 ORDER BY g;
SELECT i + 1 AS j FROM t WHERE i > 490 ORDER BY j;
SELECT a.n + b.n FROM t a JOIN t b ON a.i = b.i WHERE a.n < 2 AND b.n < 5 AND a.f > b.f;
SELECT i + 1 FROM t WHERE n < 3 UNION ALL SELECT i + 2 FROM t WHERE n > 97;
SELECT DISTINCT n + 1 FROM t WHERE n < 9;
SELECT n, rank() OVER (ORDER BY n, i, f, v) FROM t WHERE n < 4;
SELECT i FROM t WHERE i > (SELECT avg(i) + 400 FROM t WHERE n > 3);
-- Nothing and little.
SELECT i + 1 FROM empty WHERE i > 0;
SELECT sum(i), count(*), avg(f), min(n) FROM empty;
SELECT i + 1, upper(s) FROM one WHERE n >= 0;
-- Generated.
SELECT sum(value), count(*), min(value), max(value) FROM range(0, 100000);
SELECT value * 2 FROM range(0, 5000) WHERE value % 7 = 3;
SELECT sum(value) FROM generate_series(10, -10, -3);
SELECT value FROM generate_series(1, 20) WHERE value > 5;
