//! What tasks should not do, and what few of them may ask the system for. All unsafe code of the tests is here.

use std::{
    fs,
    hint::black_box,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Follows a wild pointer.
pub fn follow_wild_pointer() -> u64 {
    let nowhere = black_box(8_usize) as *const u64;
    // SAFETY: none. The address is not mapped and the process dies by SIGSEGV here, which is what the test is about;
    // `read_volatile` keeps the compiler from reasoning about it.
    unsafe { nowhere.read_volatile() }
}

/// Prints through C's library, which keeps what has no line's end to itself for a while.
pub fn print_as_c_does(text: &std::ffi::CStr) {
    // SAFETY: the format takes one text, which ends with a zero and outlives the call.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

/// Sends a signal to this process; returns when it has survived it. Sent to the thread: `kill` could return before the
/// process stops.
pub fn send_myself(signal: i32) {
    // SAFETY: `raise` takes a number and touches no memory of ours.
    unsafe { libc::raise(signal) };
}

/// Sends a signal to a process. Whether there was one.
pub fn send(pid: u32, signal: i32) -> bool {
    let pid = i32::try_from(pid).expect("a process id");
    // SAFETY: `kill` takes two numbers and touches no memory of ours.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Ignores a signal, in this process and in those that it starts from now on.
pub fn ignore(signal: i32) {
    // SAFETY: `signal` takes a number and a disposition that is none of ours; no handler runs.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Takes a signal as every new program does.
pub fn heed(signal: i32) {
    // SAFETY: `signal` takes a number and a disposition that is none of ours; no handler runs.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

static COUNTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_counted(_: libc::c_int) {
    COUNTED.fetch_add(1, Ordering::SeqCst);
}

/// From now on counts how often this signal comes.
pub fn count(signal: i32) {
    let handler = on_counted as *const () as libc::sighandler_t;
    // SAFETY: the handler has the signature that `signal` asks for, and touches one atomic number only.
    unsafe { libc::signal(signal, handler) };
}

/// How often it came.
pub fn counted() -> usize {
    COUNTED.load(Ordering::SeqCst)
}

/// Sends a signal to the group that this process leads.
pub fn send_to_group(leader: u32, signal: i32) {
    let group = i32::try_from(leader).expect("a process id");
    // SAFETY: `kill` takes two numbers and touches no memory of ours.
    assert_eq!(unsafe { libc::kill(-group, signal) }, 0, "there is such a group");
}

/// Takes the status of whichever child has ended, whoever waits for it; rests if none has.
pub fn wait_for_any_child() {
    // SAFETY: takes numbers; the status may be null, and is not asked for.
    if unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } <= 0 {
        thread::sleep(Duration::from_micros(200));
    }
}

/// Changes a variable of this process's environment.
pub fn set_variable(name: &str, value: &str) {
    // SAFETY: nothing but Rust's own functions, which lock, reads the environment in these programs.
    unsafe { std::env::set_var(name, value) };
}

/// The next child of this thread is the first process of a namespace.
///
/// # Errors
/// If the system does not allow that.
pub fn new_process_namespace() -> io::Result<()> {
    // SAFETY: takes a number and touches no memory of ours.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the process without running anything that wants to run at its end.
pub fn quick_exit(code: i32) -> ! {
    // SAFETY: `_exit` takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Uses up the stack, however large it is.
pub fn overflow_stack(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == u64::MAX {
        return 0;
    }
    // Not a tail call: the frame is used after it.
    overflow_stack(depth + 1) + black_box(frame)[7]
}

/// Closes every descriptor of the process, whoever owns it.
pub fn close_all_descriptors() {
    for descriptor in descriptors() {
        // SAFETY: the descriptors are others', and that is the misdeed: what they do next fails. `close` itself touches
        // no memory.
        unsafe { libc::close(descriptor) };
    }
}

/// Writes nonsense to every socket of the process.
pub fn write_garbage_to_sockets() {
    write_to_sockets(&[0xa5; 4096]);
}

/// Overwrites all memory that the process shares with others.
pub fn overwrite_shared_memory() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines().filter(|line| line.contains("rw-s") && line.contains("/memfd:")) {
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { continue };
        let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).expect("a number"));
        // SAFETY: the range is mapped, and can be written to; what is there is somebody else's, and that is the misdeed.
        unsafe { std::ptr::write_bytes(start as *mut u8, 0xa5, end - start) };
    }
}

/// Writes a packet to every socket of the process.
pub fn write_to_sockets(packet: &[u8]) {
    for descriptor in descriptors() {
        let target = fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default();
        if target.to_string_lossy().starts_with("socket:") {
            // SAFETY: reads from `packet`, which is as long as said and lives here; a descriptor that cannot be
            // written to is an error that is ignored.
            unsafe { libc::send(descriptor, packet.as_ptr().cast(), packet.len(), libc::MSG_DONTWAIT) };
        }
    }
}

fn descriptors() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Processor time of this thread.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time`, which is a `timespec` and lives here.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Lowers the number of descriptors that this process may have.
pub fn limit_descriptors(most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: reads from `limit`, which is an `rlimit` and lives here.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0, "lowering a limit is allowed");
}

/// Makes a copy of this process, with this thread alone in it. Returns twice: `None` in the copy, its number in the
/// original.
pub fn fork() -> Option<i32> {
    // SAFETY: none. The copy may find any lock held for ever by a thread that it does not have, and that is the misdeed:
    // what the tests run in it takes no lock that another thread of a worker holds for long.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "a process can be copied");
    (pid > 0).then_some(pid)
}

/// Waits for the end of a child, but not longer than `limit`. Whether it has ended.
pub fn ends_within(child: i32, limit: Duration) -> bool {
    let start = Instant::now();
    loop {
        // SAFETY: takes numbers; the status may be null, and is not asked for.
        if unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) } == child {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

extern "C" fn on_alarm(_: libc::c_int) {}

/// From now on a signal comes to this thread every millisecond, and interrupts whatever system call it meets. Not by a
/// timer of the process: its signal goes to any thread.
pub fn tick() {
    // SAFETY: plain data, for which zeroes are values.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Without SA_RESTART: calls come back with EINTR.
    action.sa_sigaction = on_alarm as *const () as libc::sighandler_t;
    // SAFETY: the handler has the signature that the action says, and does nothing.
    let handled = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(handled, 0, "a signal can be handled");
    // SAFETY: takes nothing.
    let thread = unsafe { libc::gettid() };
    thread::spawn(move || {
        // SAFETY: takes numbers; a thread that has ended is an error, and the end.
        while unsafe { libc::syscall(libc::SYS_tkill, thread, libc::SIGALRM) } == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Gives this process a session and a terminal of its own, in whose foreground it is.
pub fn own_terminal() {
    // SAFETY: takes nothing. It fails for the leader of a group, which whoever was started by a test is not.
    assert!(unsafe { libc::setsid() } > 0, "a session can be had");
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: writes two numbers to two variables that live here; the other three may be null.
    let made = unsafe { libc::openpty(&raw mut master, &raw mut slave, null, null.cast(), null.cast()) };
    assert_eq!(made, 0, "a terminal can be had");
    // SAFETY: takes numbers only.
    let taken = unsafe { libc::ioctl(slave, libc::TIOCSCTTY, 0) };
    assert_eq!(taken, 0, "it becomes the session's");
    // The other end stays open: without it the terminal hangs up, and its session with it.
}
