//! The allocator of this program, told to keep what is freed.
//!
//! A million open tasks are some hundred megabytes. By default glibc gives such an amount back to the kernel when they are over, and takes it
//! page by page for the next million: on a virtual machine that takes as long as the tasks, or ten times as long when the host
//! has to find the pages too. Who asks whether a pool's cost grows with the number of tasks does not ask for that.

/// While it lives memory stays where it is.
pub(crate) struct Kept(());

impl Kept {
    pub(crate) fn new() -> Self {
        // As much as there are numbers for, and the most that glibc allows.
        set(i32::MAX, 32 << 20);
        Self(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // What glibc begins with.
        set(128 << 10, 128 << 10);
        give_back();
    }
}

#[cfg(target_env = "gnu")]
fn set(trim: i32, mmap: i32) {
    for (what, bytes) in [(libc::M_TRIM_THRESHOLD, trim), (libc::M_MMAP_THRESHOLD, mmap)] {
        // SAFETY: Takes numbers only, and changes how the allocator works and not what it has given.
        unsafe { libc::mallopt(what, bytes) };
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: Touches no memory that anybody has.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn set(_: i32, _: i32) {}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}
