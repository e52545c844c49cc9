//! How much memory processes hold, as `/proc` tells it.

use std::{
    fs::File,
    io::Read,
    mem::MaybeUninit,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::family::below;

/// Highest resident memory of a process since its `exec`, in bytes: `self`, or a number.
///
/// Never `ru_maxrss`: that starts at the size of the parent.
pub(crate) fn peak(process: &str) -> Option<u64> {
    field(&status(process)?, "VmHWM:")
}

/// Anonymous memory of a process and of those that it started, resident or swapped, in bytes. Not
/// counted are files, and memory that is shared with others. `None` if the process is gone.
///
/// A descendant whose parent has ended belongs to nobody here.
pub fn held(pid: u32) -> Option<u64> {
    let own = held_alone(pid)?;
    Some(own + below(pid).into_iter().filter_map(|(child, _)| held_alone(child)).sum::<u64>())
}

fn held_alone(pid: u32) -> Option<u64> {
    let status = status(&pid.to_string())?;
    Some(field(&status, "RssAnon:")? + field(&status, "VmSwap:").unwrap_or(0))
}

fn status(process: &str) -> Option<String> {
    super::read_proc(format!("/proc/{process}/status")).ok()
}

/// A field of a status file, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Offers this process to the kernel before others, should the machine run out of memory: a worker can
/// be replaced, its parent cannot. That it may not is no reason not to work.
pub(crate) fn offer_to_oom_killer() {
    const FILE: &str = "/proc/self/oom_score_adj";
    const SCORE: i32 = 500;
    let Ok(mut file) = File::options().read(true).write(true).open(FILE) else { return };
    let mut text = [0; 16];
    let length = file.read(&mut text).unwrap_or(0);
    let now = str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now.is_none_or(|now| now < SCORE) {
        let _ = file.write_all_at(SCORE.to_string().as_bytes(), 0);
    }
}

/// Asks for large pages under a long buffer that is about to be filled: they are had for a fraction of the time that
/// small ones take. Nothing depends on it.
pub(crate) fn prefer_large_pages(buffer: &mut [MaybeUninit<u8>]) {
    const LARGE: usize = 2 << 20;
    if buffer.len() < 2 * LARGE {
        return;
    }
    let ahead = buffer.as_ptr().align_offset(LARGE);
    let length = buffer.len().saturating_sub(ahead) / LARGE * LARGE;
    if let Some(pages) = buffer.get_mut(ahead..).and_then(|rest| rest.get_mut(..length)) {
        // SAFETY: the pages are those of one slice, which is ours, and their content does not change.
        unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_HUGEPAGE) };
    }
}

/// How often the kernel has killed somebody of this process's cgroup for want of memory.
#[derive(Debug, Default)]
pub struct OomKills {
    file: Option<PathBuf>,
    /// Kills that somebody has been told of, or that were somebody else's.
    told: u64,
    /// Kills at the last look.
    looked: u64,
}

impl OomKills {
    /// Counts from now on.
    pub fn of_this_cgroup() -> Self {
        let file = super::read_proc("/proc/self/cgroup").ok().and_then(|text| file_of(&text));
        let mut this = Self { file, told: 0, looked: 0 };
        this.told = this.count();
        this.looked = this.told;
        this
    }

    /// Whether there was a kill that nobody has been told of. Each is told once.
    pub fn claim(&mut self) -> bool {
        let claimed = self.count() > self.told;
        self.told += u64::from(claimed);
        claimed
    }

    /// To be called now and then: kills that nobody has claimed since the last time were somebody else's.
    /// One that was counted just now may be of a process that is still about to die.
    pub fn look(&mut self) {
        self.told = self.told.max(self.looked);
        self.looked = self.count();
    }

    fn count(&self) -> u64 {
        let text = self.file.as_ref().and_then(|file| super::read_proc(file).ok()).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(self.told)
    }
}

/// Where a cgroup, as `/proc/self/cgroup` names it, counts these kills: version 2, or 1.
fn file_of(cgroups: &str) -> Option<PathBuf> {
    let parts = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1).map(str::to_owned);
        parts.next().zip(parts.next())
    };
    let root = Path::new("/sys/fs/cgroup");
    let files = cgroups.lines().filter_map(parts).filter_map(|(controllers, path)| {
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            Some(root.join(path).join("memory.events.local"))
        } else {
            let memory = controllers.split(',').any(|controller| controller == "memory");
            memory.then(|| root.join("memory").join(path).join("memory.oom_control"))
        }
    });
    files.into_iter().find(|file| file.exists())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_holds_what_it_fills() {
        // Not this process: other tests fill it and empty it meanwhile. It waits for somebody to read its block.
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=64M", "count=1"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = dd.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let (holds, most) = (held(child.id()).unwrap(), peak(&child.id().to_string()).unwrap());
        assert!(holds >= 60 << 20 && most >= holds, "{holds} bytes, {most} at most");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_a_child_holds_counts() {
        let me = std::process::id();
        let before = held(me).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let alone = held_alone(child.id()).unwrap();
        // Other tests run beside this one: that it is among the children is what can be shown.
        assert!(below(me).contains(&(child.id(), me)), "with {before} bytes before, and {alone} of the child");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing_known() {
        assert_eq!(held(u32::MAX), None);
    }

    #[test]
    fn each_kill_by_the_kernel_is_told_once() {
        let file = std::env::temp_dir().join(format!("taskloom-oom-{}", std::process::id()));
        let write =
            |count: u64| fs::write(&file, format!("low 0\noom 9\noom_kill {count}\noom_group_kill 7\n")).unwrap();
        write(3);
        let mut kills = OomKills { file: Some(file.clone()), told: 3, looked: 3 };
        assert!(!kills.claim());
        write(5);
        assert_eq!([kills.claim(), kills.claim(), kills.claim()], [true, true, false]);
        write(7);
        kills.look();
        assert!(kills.claim(), "it may have been counted before its victim died");
        kills.look();
        assert!(!kills.claim(), "the other was not ours");
        fs::remove_file(&file).unwrap();
        // Without the file nothing is claimed.
        assert!(!kills.claim());
    }
}
