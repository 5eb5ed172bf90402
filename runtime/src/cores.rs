//! Keeps the threads of a query on cores of their own.
//!
//! The scheduler of Linux often wakes a second worker on the core where the first one runs, and lets both
//! take turns there for several milliseconds while another core is idle: the thread that started the query
//! was about to go to sleep on it, and an idle core looks for work only now and then. For a query of ten
//! milliseconds on two cores that is half of its speed. So threads that run morsels note where they run. One
//! that finds another of them on its core moves to a core without one, and one that has been at work for
//! two morsels moves neighbours that have not begun, in case they wait for its core.
//!
//! Nothing is pinned: a thread that moves gets its old set of allowed cores back at once, so that the
//! scheduler may go on to place it, other processes included. On other systems, and where the system refuses,
//! all of this does nothing.
//!
//! Invariant: what is noted is a hint. It may be late or wrong, and then costs a few microseconds.

#[cfg(target_os = "linux")]
pub use linux::{AtWork, work};

/// Marks that this thread runs a morsel.
#[cfg(not(target_os = "linux"))]
pub struct AtWork;

/// To be called before a morsel runs, and dropped behind it.
#[cfg(not(target_os = "linux"))]
pub fn work() -> AtWork {
    AtWork
}

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::RefCell;
    use std::mem;
    use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};
    use std::time::{Duration, Instant};

    /// Threads that are looked at. Machines with more cores have idle ones that the scheduler finds.
    const SEATS: usize = 64;
    /// A thread that ran no morsel for this long has begun another piece of work.
    const PAUSE: Duration = Duration::from_micros(500);
    /// Morsels of a piece of work after which neighbours should have begun: not those of small queries.
    const SETTLED: u32 = 2;
    /// Neighbours that one thread looks after.
    const NEIGHBOURS: usize = 2;
    /// Morsels between two moves of a thread: a hint that stays wrong must not keep it moving.
    const REST: u32 = 8;
    /// The core of a thread that runs no morsel.
    const IDLE: i32 = -1;

    /// What others see of a thread.
    #[repr(align(64))]
    struct Seat {
        /// The system's number of the thread; 0: the seat is free.
        thread: AtomicI32,
        /// Where it was when its morsel began.
        core: AtomicI32,
    }

    static SEATED: [Seat; SEATS] =
        [const { Seat { thread: AtomicI32::new(0), core: AtomicI32::new(IDLE) } }; SEATS];
    /// No seat from here on was ever taken.
    static USED: AtomicUsize = AtomicUsize::new(0);

    /// This thread's seat, and its own book-keeping.
    struct Own {
        seat: Option<usize>,
        busy: bool,
        /// Morsels of this piece of work, and until which of them it stays where it is.
        morsels: u32,
        rest: u32,
        ended: Option<Instant>,
    }

    impl Drop for Own {
        fn drop(&mut self) {
            if let Some(seat) = self.seat {
                SEATED[seat].core.store(IDLE, Relaxed);
                SEATED[seat].thread.store(0, Relaxed);
            }
        }
    }

    thread_local! {
        static OWN: RefCell<Own> = RefCell::new(Own::sit());
    }

    impl Own {
        fn sit() -> Own {
            // SAFETY: it takes nothing and cannot fail.
            let thread = unsafe { libc::gettid() };
            let free = |seat: &Seat| seat.thread.compare_exchange(0, thread, Relaxed, Relaxed).is_ok();
            let seat = SEATED.iter().position(free);
            if let Some(seat) = seat {
                USED.fetch_max(seat + 1, Relaxed);
            }
            Own { seat, busy: false, morsels: 0, rest: 0, ended: None }
        }

        fn begin(&mut self, seat: usize) {
            if self.ended.is_some_and(|ended| ended.elapsed() > PAUSE) {
                self.morsels = 0;
                self.rest = 0;
            }
            self.busy = true;
            let core = current_core();
            SEATED[seat].core.store(core, Relaxed);
            if self.morsels >= self.rest && others(seat).any(|other| other == core) {
                self.rest = self.morsels + REST;
                if shift(0, core, seat) {
                    SEATED[seat].core.store(current_core(), Relaxed);
                }
            }
        }

        fn end(&mut self, seat: usize) {
            self.busy = false;
            self.morsels += 1;
            if self.morsels == SETTLED {
                wake_neighbours(seat);
            }
            self.ended = Some(Instant::now());
            SEATED[seat].core.store(IDLE, Relaxed);
        }
    }

    /// Marks that this thread runs a morsel.
    pub struct AtWork(Option<usize>);

    /// To be called before a morsel runs, and dropped behind it. A morsel within another one is part of it.
    pub fn work() -> AtWork {
        let begun = OWN.try_with(|own| {
            let mut own = own.try_borrow_mut().ok()?;
            let seat = own.seat.filter(|_| !own.busy)?;
            own.begin(seat);
            Some(seat)
        });
        AtWork(begun.ok().flatten())
    }

    impl Drop for AtWork {
        fn drop(&mut self) {
            if let Some(seat) = self.0 {
                // A thread that is ending has left its seat.
                let _ = OWN.try_with(|own| own.borrow_mut().end(seat));
            }
        }
    }

    fn current_core() -> i32 {
        // SAFETY: it takes nothing; an error is a negative number, which is no core.
        unsafe { libc::sched_getcpu() }
    }

    /// The cores where other threads run morsels.
    fn others(seat: usize) -> impl Iterator<Item = i32> {
        let used = USED.load(Relaxed).min(SEATS);
        let cores = SEATED[..used].iter().enumerate().filter(move |(at, _)| *at != seat);
        cores.map(|(_, other)| other.core.load(Relaxed)).filter(|core| *core >= 0)
    }

    /// Moves threads that should have begun as well and have not: they may wait for the core that this
    /// one holds. One that sleeps, as there is nothing for it to do, does not notice.
    fn wake_neighbours(seat: usize) {
        let used = USED.load(Relaxed).min(SEATS);
        let core = SEATED[seat].core.load(Relaxed);
        for step in 1..=NEIGHBOURS.min(used.saturating_sub(1)) {
            let neighbour = (seat + step) % used;
            let thread = SEATED[neighbour].thread.load(Relaxed);
            if thread != 0 && SEATED[neighbour].core.load(Relaxed) == IDLE {
                shift(thread, core, neighbour);
            }
        }
    }

    /// Moves a thread (0: this one), whose seat is given, away from a core to one where none of ours runs;
    /// whether there was one.
    fn shift(thread: i32, from: i32, seat: usize) -> bool {
        // SAFETY: a set of cores is an array of bits, of which all zero is one.
        let mut allowed: libc::cpu_set_t = unsafe { mem::zeroed() };
        let size = size_of::<libc::cpu_set_t>();
        // SAFETY: the system writes a set of that size.
        if unsafe { libc::sched_getaffinity(thread, size, &raw mut allowed) } != 0 {
            return false;
        }
        let taken: Vec<i32> = others(seat).collect();
        let Some(to) = free_core(&allowed, from, &taken) else { return false };
        // SAFETY: as above.
        let mut only: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: `to` came out of a set of this size.
        unsafe { libc::CPU_SET(to, &mut only) };
        // SAFETY: both sets are alive and of the size that is named; whether the system refuses only decides
        // whether the thread moved.
        unsafe {
            let moved = libc::sched_setaffinity(thread, size, &raw const only) == 0;
            libc::sched_setaffinity(thread, size, &raw const allowed);
            moved
        }
    }

    /// The next core after `from` that is allowed and not taken.
    fn free_core(allowed: &libc::cpu_set_t, from: i32, taken: &[i32]) -> Option<usize> {
        let most = libc::CPU_SETSIZE as usize;
        let start = usize::try_from(from).ok()?;
        (1..most).map(|step| (start + step) % most).find(|&core| {
            // SAFETY: `core` lies below the size of a set.
            let may = unsafe { libc::CPU_ISSET(core, allowed) };
            may && !taken.contains(&(core as i32))
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::Barrier;

        fn set(cores: &[usize]) -> libc::cpu_set_t {
            // SAFETY: all zero is a set, and the numbers are small.
            unsafe {
                let mut set: libc::cpu_set_t = mem::zeroed();
                cores.iter().for_each(|&core| libc::CPU_SET(core, &mut set));
                set
            }
        }

        #[test]
        fn a_free_core_is_allowed_and_has_none_of_ours() {
            assert_eq!(free_core(&set(&[0, 1]), 0, &[0]), Some(1));
            assert_eq!(free_core(&set(&[0, 1]), 1, &[1]), Some(0));
            assert_eq!(free_core(&set(&[0, 1, 2, 7]), 2, &[2, 7]), Some(0));
            assert_eq!(free_core(&set(&[0, 1]), 0, &[0, 1]), None);
            assert_eq!(free_core(&set(&[3]), 3, &[]), None);
            assert_eq!(free_core(&set(&[0, 1]), -1, &[]), None);
        }

        fn allowed() -> libc::cpu_set_t {
            let mut mask = set(&[]);
            // SAFETY: the system writes a set of that size.
            unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut mask) };
            mask
        }

        fn restrict(mask: &libc::cpu_set_t) {
            // SAFETY: the set is alive and of that size.
            unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), mask) };
        }

        /// Two threads that begin on one core find two, and may afterwards go where they might before.
        #[test]
        fn threads_leave_a_shared_core_and_stay_free() {
            let before = allowed();
            let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
                // SAFETY: below the size of a set.
                .filter(|&core| unsafe { libc::CPU_ISSET(core, &before) })
                .collect();
            let [first, second, ..] = cores[..] else { return };
            let barrier = Barrier::new(2);
            std::thread::scope(|scope| {
                let stays = scope.spawn(|| {
                    restrict(&set(&[first]));
                    let morsel = work();
                    barrier.wait();
                    barrier.wait();
                    drop(morsel);
                });
                let moves = scope.spawn(|| {
                    restrict(&set(&[first]));
                    barrier.wait();
                    // On the same core, and free to go to one other.
                    let both = set(&[first, second]);
                    restrict(&both);
                    let own = OWN.with(|own| own.borrow().seat).expect("few threads run");
                    let moved = shift(0, current_core(), own);
                    assert!(moved);
                    assert_eq!(current_core(), second as i32);
                    // SAFETY: both are sets.
                    assert!(unsafe { libc::CPU_EQUAL(&allowed(), &both) });
                    barrier.wait();
                });
                stays.join().expect("it does not fail");
                moves.join().expect("it does not fail");
            });
        }
    }
}
