//! Telling work that blocks that nobody waits for its result any more.
//!
//! A query is cancelled by dropping its stream, and a task by aborting it. Neither reaches a thread
//! that is inside a user-defined function: it polls nothing. So each query has a [`Cancellation`],
//! which travels with its tasks, and whoever blocks looks at [`is_cancelled`] now and then.
//!
//! It travels as a task-local value. DataFusion starts tasks of its own in operators all over; its
//! hook for tracers is asked for each of them, and [`install`] has it hand the value on.

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

/// Whether a piece of work was given up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<Node>);

#[derive(Debug, Default)]
struct Node {
    given_up: AtomicBool,
    parents: Vec<Cancellation>,
}

/// Who must be told at once, because what it runs cannot look.
static ON_CANCEL: OnceLock<fn()> = OnceLock::new();

/// Has every [`Cancellation::cancel`] call this; only the first such function counts. Queries that end as
/// they should are cancelled too, so it must be quick where nothing runs.
pub fn on_cancel(hook: fn()) {
    ON_CANCEL.get_or_init(|| hook);
}

tokio::task_local! {
    static CURRENT: Cancellation;
}

impl Cancellation {
    /// One that is also cancelled when the one of the task that calls this is.
    pub fn within_current() -> Cancellation {
        Cancellation(Arc::new(Node { parents: current().into_iter().collect(), ..Node::default() }))
    }

    /// Whoever works for this may stop.
    pub fn cancel(&self) {
        self.0.given_up.store(true, Ordering::SeqCst);
        if let Some(hook) = ON_CANCEL.get() {
            hook();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.given_up.load(Ordering::Relaxed) || self.0.parents.iter().any(Cancellation::is_cancelled)
    }

    /// This one and that of the calling task: cancelled when either is.
    fn and_current(&self) -> Cancellation {
        match current() {
            Some(current) if !Arc::ptr_eq(&current.0, &self.0) => {
                Cancellation(Arc::new(Node { parents: vec![self.clone(), current], ..Node::default() }))
            }
            Some(_) | None => self.clone(),
        }
    }

    /// Work whose blocking parts see this cancellation, and that of the task that polls it.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.and_current(), work).await
    }

    /// As [`Cancellation::scope`], for work that is no future.
    pub fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.and_current(), work)
    }
}

/// That of the work that this thread is doing.
pub fn current() -> Option<Cancellation> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Whether the work that this thread is doing was given up.
pub fn is_cancelled() -> bool {
    CURRENT.try_with(Cancellation::is_cancelled).unwrap_or(false)
}

/// Has DataFusion's tasks inherit the cancellation of the task that starts them. If the program has a
/// tracer of its own, they do not, and blocking functions in them run to their end.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if set_join_set_tracer(&Inherit).is_err() {
            log::warn!("DataFusion has a JoinSetTracer already: cancelling does not stop running UDFs");
        }
    });
}

struct Inherit;

type Anything = Box<dyn Any + Send>;

impl JoinSetTracer for Inherit {
    fn trace_future(&self, future: BoxFuture<'static, Anything>) -> BoxFuture<'static, Anything> {
        match current() {
            Some(current) => CURRENT.scope(current, future).boxed(),
            None => future,
        }
    }

    fn trace_block(
        &self,
        block: Box<dyn FnOnce() -> Anything + Send>,
    ) -> Box<dyn FnOnce() -> Anything + Send> {
        match current() {
            Some(current) => Box::new(move || CURRENT.sync_scope(current, block)),
            None => block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::runtime::JoinSet;

    #[tokio::test]
    async fn tasks_inherit_it() {
        install();
        let query = Cancellation::default();
        let mut tasks = JoinSet::new();
        query.sync_scope(|| {
            tasks.spawn(async { (0..).find(|_| is_cancelled()).is_some() });
        });
        assert!(!is_cancelled());
        query.cancel();
        assert_eq!(tasks.join_next().await.map(|r| r.unwrap()), Some(true));
    }

    #[tokio::test]
    async fn either_of_two_counts() {
        let (task, query) = (Cancellation::default(), Cancellation::default());
        task.scope(async {
            query.scope(async { assert!(!is_cancelled()) }).await;
            task.cancel();
            query.scope(async { assert!(is_cancelled()) }).await;
            assert!(Cancellation::within_current().is_cancelled());
        })
        .await;
        assert!(!query.is_cancelled());
    }
}
