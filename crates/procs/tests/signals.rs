//! A program with a timer at 1 kHz: every system call that can be interrupted is.

mod support;

use support::*;

taskloom_procs::test_support!();

extern "C" fn on_alarm(_: libc::c_int) {}

#[test]
fn interrupted_calls_harm_nothing() {
    within(120, || {
        let tick = libc::timeval { tv_sec: 0, tv_usec: 1000 };
        let timer = libc::itimerval { it_interval: tick, it_value: tick };
        // SAFETY: plain data, for which zeroes are values.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // Without SA_RESTART: calls come back with EINTR.
        action.sa_sigaction = on_alarm as *const () as libc::sighandler_t;
        // SAFETY: the handler has the signature that the action says, and does nothing.
        unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
        // SAFETY: `timer` outlives the call; the old value is not asked for.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
        for _ in 0..5 {
            let pool = workers(2);
            let small: Vec<_> = (0..2000).map(|n| pool.submit(add::task(n, 1)).unwrap()).collect();
            let large: Vec<_> = (0..8_u8).map(|n| pool.submit(echo::task(vec![n; 3 << 20])).unwrap()).collect();
            let crash = pool.submit(exit::task(1)).unwrap();
            for (n, handle) in small.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), n as u64 + 1);
            }
            for (n, handle) in large.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), vec![n as u8; 3 << 20]);
            }
            death(crash.join());
            pool.join();
        }
    });
}
