//! The pool against real interpreters: the one of `$PYTHON`, or the newest that `tools/pythons` finds.

use super::*;
use arrow::array::{Array, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn interpreter() -> Interpreter {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| {
        let out = Command::new(root().join("tools/pythons")).output().expect("tools/pythons runs");
        let text = String::from_utf8(out.stdout).expect("paths");
        text.lines().last().expect("a Python").to_owned()
    });
    Interpreter { executable: python.into(), script: root().join("python/fuseline/_worker.py") }
}

fn pool(most: usize) -> Pool {
    Pool::new(interpreter(), most)
}

/// A scalar function by its source, pickled as a call of `eval` or `exec` that gives it.
fn function(source: &str, params: &[DataType], returns: DataType) -> WorkerFunction {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Protocol 0: c module name, ( V text tR . : eval(text).
    let call = format!("(lambda s: exec({source:?}, s) or s['f'])({{'__builtins__': __builtins__}})");
    let escaped = call.replace('\\', "\\u005c").replace('\n', "\\u000a");
    let pickled = format!("c__builtin__\neval\n(V{escaped}\ntR.");
    WorkerFunction {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        alive: Arc::default(),
        kind: "scalar",
        params: params.iter().enumerate().map(|(i, t)| (format!("x{i}"), t.clone())).collect(),
        returns,
        transport: Transport::SharedMemory,
        timeout: None,
        memory_limit: None,
        pickled: pickled.into_bytes(),
        search_path: Vec::new(),
    }
}

fn int_function(body: &str) -> WorkerFunction {
    let source = format!("def f(x):\n    {}\n", body.replace('\n', "\n    "));
    function(&source, &[DataType::Int64], DataType::Int64)
}

fn ints(values: impl IntoIterator<Item = i64>) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from_iter_values(values))]
}

fn call(pool: &Pool, f: &WorkerFunction, columns: &[ArrayRef]) -> Result<Output, WorkerError> {
    pool.call(f, columns, columns.first().map_or(3, Array::len), false, &|| false)
}

#[test]
fn rows_go_there_and_come_back() {
    let pool = pool(1);
    let f = int_function("return None if x == 3 else x * 2");
    for n in [1, 5, 1000, 100_000, 7] {
        let out = call(&pool, &f, &ints(0..n)).unwrap();
        let expected: Int64Array = (0..n).map(|x| (x != 3).then_some(x * 2)).collect();
        assert_eq!(out.column.as_primitive::<Int64Type>(), &expected);
    }
    assert_eq!(pool.idle_pids().len(), 1, "one worker served all calls");
    let two = function(
        "def f(a, b):\n    return f'{b}:{a}'\n",
        &[DataType::Utf8, DataType::Boolean],
        DataType::Utf8,
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("ä"), None, Some("")])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
    ];
    let out = call(&pool, &two, &columns).unwrap();
    assert_eq!(out.column.as_string::<i32>(), &StringArray::from(vec!["True:ä", "False:None", "None:"]));
    let none = function("def f():\n    return 7\n", &[], DataType::Int64);
    assert_eq!(call(&pool, &none, &[]).unwrap().column.as_primitive::<Int64Type>().values(), &[7, 7, 7]);
}

#[test]
fn results_stay_while_later_calls_run_and_after_the_pool_is_gone() {
    let pool = pool(1);
    let f = function("def f(x):\n    return x + 0.5\n", &[DataType::Float64], DataType::Float64);
    let n = 20_000;
    let results: Vec<ArrayRef> = (0..50)
        .map(|k| {
            let column: ArrayRef = Arc::new(Float64Array::from_iter_values((0..n).map(|i| f64::from(i + k))));
            call(&pool, &f, &[column]).unwrap().column
        })
        .collect();
    drop(pool);
    for (k, column) in results.iter().enumerate() {
        let values = column.as_primitive::<Float64Type>().values();
        assert!(values.iter().enumerate().all(|(i, v)| *v == i as f64 + k as f64 + 0.5), "result {k}");
    }
}

#[test]
fn exceptions_arrive_with_their_row_and_the_worker_goes_on() {
    let pool = pool(1);
    let f = int_function("return 10 // (x - 4)");
    let Err(WorkerError::FailedRow(failed)) = call(&pool, &f, &ints(0..10)) else {
        panic!("row 4 divides by zero");
    };
    assert_eq!((failed.row, failed.misfit, failed.exception.ordinary), (4, false, true));
    assert!(failed.exception.message.starts_with("ZeroDivisionError: "), "{failed:?}");
    assert!(failed.exception.traceback().unwrap().contains("in f"), "{failed:?}");
    assert!(!failed.exception.trace.contains("_worker"), "only the function's frames: {failed:?}");
    let pid = pool.idle_pids();
    let out = pool.call(&f, &ints(0..10), 10, true, &|| false).unwrap();
    assert_eq!(out.failures.len(), 1);
    assert_eq!(out.failures[0].row, 4);
    assert_eq!(out.column.as_primitive::<Int64Type>().value(6), 5);
    let text = int_function("return 'no' if x == 2 else x");
    let Err(WorkerError::FailedRow(failed)) = call(&pool, &text, &ints(0..10)) else {
        panic!("row 2 is no int");
    };
    assert_eq!((failed.row, failed.misfit), (2, true));
    let exit = int_function("raise SystemExit(3)");
    let Err(WorkerError::FailedRow(failed)) = call(&pool, &exit, &ints(0..10)) else {
        panic!("SystemExit travels");
    };
    assert!(!failed.exception.ordinary);
    assert_eq!(pool.idle_pids(), pid, "the worker is still the same");
}

#[test]
fn dropped_functions_are_forgotten() {
    let pool = pool(1);
    let count = "import gc\ngc.collect()\nreturn sum(getattr(o, '__name__', '') == 'the_dropped' for o in gc.get_objects())";
    let count = int_function(count);
    let dropped =
        function("def the_dropped(x):\n    return x\nf = the_dropped", &[DataType::Int64], DataType::Int64);
    let counted = || {
        let column = call(&pool, &count, &ints(0..1)).unwrap().column;
        column.as_primitive::<Int64Type>().value(0)
    };
    assert_eq!(counted(), 0);
    call(&pool, &dropped, &ints(0..3)).unwrap();
    assert_eq!(counted(), 1);
    drop(dropped);
    assert_eq!(counted(), 0);
}

#[test]
fn functions_that_cannot_be_loaded_say_why() {
    let pool = pool(1);
    let mut f = int_function("return x");
    f.pickled = b"cno_such_module\nf\n.".to_vec();
    let Err(WorkerError::Trouble { what, exception }) = call(&pool, &f, &ints(0..3)) else {
        panic!("there is no such module");
    };
    assert!(what.contains("cannot be loaded"), "{what}");
    assert!(exception.message.contains("no_such_module"), "{exception}");
    assert!(call(&pool, &int_function("return x"), &ints(0..3)).is_ok());
}

#[test]
fn dying_workers_are_typed_errors_and_are_replaced() {
    let pool = pool(1);
    let well = int_function("return x");
    let exits = int_function("import os\nos._exit(7)");
    let error = call(&pool, &exits, &ints(0..3)).unwrap_err();
    assert!(matches!(error, WorkerError::Exited { code: 7, .. }), "{error:?}");
    assert!(call(&pool, &well, &ints(0..3)).is_ok());
    let killed = int_function("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nreturn 1");
    let error = call(&pool, &killed, &ints(0..3)).unwrap_err();
    assert!(error.to_string().contains("killed by SIGKILL"), "{error}");
    let crash = int_function("import ctypes\nctypes.string_at(1)\nreturn 1");
    let error = call(&pool, &crash, &ints(0..3)).unwrap_err();
    assert!(matches!(&error, WorkerError::Killed { signal, .. } if signal == "SIGSEGV"), "{error:?}");
    let trace = error.trace().unwrap();
    assert!(trace.contains("Segmentation fault") && trace.contains("in f"), "{trace}");
    assert!(call(&pool, &well, &ints(0..3)).is_ok());
    // One that is killed while it is idle harms nobody.
    super::sys::signal(pool.idle_pids()[0], libc::SIGKILL);
    std::thread::sleep(Duration::from_millis(50));
    assert!(call(&pool, &well, &ints(0..3)).is_ok());
}

#[test]
fn hung_workers_are_killed_and_say_where_they_hung() {
    let pool = pool(1);
    let mut f = int_function("while True:\n    pass");
    f.timeout = Some(Duration::from_millis(300));
    let started = Instant::now();
    let error = call(&pool, &f, &ints(0..3)).unwrap_err();
    assert!(matches!(error, WorkerError::TimedOut { rows: 3, .. }), "{error:?}");
    assert!(error.trace().unwrap().contains("in f"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    f.timeout = None;
    let started = Instant::now();
    let cancelled = || started.elapsed() > Duration::from_millis(400);
    let error = pool.call(&f, &ints(0..3), 3, false, &cancelled).unwrap_err();
    assert!(matches!(error, WorkerError::Cancelled), "{error:?}");
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
}

#[test]
fn memory_is_limited() {
    let pool = pool(1);
    let mut f = int_function("b = []\nwhile True:\n    b.append(bytearray(b'x' * 1000000))");
    f.memory_limit = Some(200 << 20);
    let error = call(&pool, &f, &ints(0..3)).unwrap_err();
    let WorkerError::MemoryLimit { used, limit, .. } = error else { panic!("{error:?}") };
    assert_eq!(limit, 200 << 20);
    assert!(used > limit && used < limit + (400 << 20), "{used}");
}

#[test]
fn calls_run_in_parallel_up_to_the_limit() {
    let pool = Arc::new(pool(2));
    let f = int_function("import time\ntime.sleep(0.3)\nreturn x");
    call(&pool, &f, &ints(0..1)).unwrap();
    let many = |n: usize| {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..n {
                scope.spawn(|| call(&pool, &f, &ints(0..1)).unwrap());
            }
        });
        started.elapsed()
    };
    many(2);
    assert!(many(2) < Duration::from_millis(550), "two at once");
    let four = many(4);
    assert!(four >= Duration::from_millis(600), "no more than two at once: {four:?}");
    assert_eq!(pool.idle_pids().len(), 2);
}

#[test]
fn garbage_on_the_socket_is_an_error() {
    let pool = pool(1);
    // The socket is the only one that the worker has.
    let source = "import os, stat\nfor fd in range(3, 30):\n    try:\n        if stat.S_ISSOCK(os.fstat(fd)\
                  .st_mode):\n            os.write(fd, b'garbage' * 100)\n    except OSError:\n        pass\n\
                  return x";
    let error = call(&pool, &int_function(source), &ints(0..3)).unwrap_err();
    assert!(matches!(error, WorkerError::Broken { .. }), "{error:?}");
    assert!(call(&pool, &int_function("return x"), &ints(0..3)).is_ok());
}

#[test]
fn no_python_is_an_error() {
    let missing = Interpreter { executable: "/no/such/python".into(), ..interpreter() };
    let error = call(&Pool::new(missing, 1), &int_function("return x"), &ints(0..3)).unwrap_err();
    assert!(matches!(error, WorkerError::NotStarted { .. }), "{error:?}");
    let other = Interpreter { executable: "/bin/false".into(), ..interpreter() };
    let error = call(&Pool::new(other, 1), &int_function("return x"), &ints(0..3)).unwrap_err();
    assert!(error.to_string().contains("exited with code 1 at once"), "{error}");
}

#[test]
fn workers_end_with_the_pool() {
    let pool = pool(1);
    call(&pool, &int_function("return x"), &ints(0..3)).unwrap();
    let pid = pool.idle_pids()[0];
    drop(pool);
    let gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone(pid), "the worker has ended and was waited for");
}
