//! Processes that a worker has started, also those that left its process group.
//!
//! Two ways to find them, because each misses some. The kernel lists the children of a process that
//! lives; whose parent has ended is on nobody's list. And what a process inherits in its environment
//! stays readable from outside; but it may start others with an environment of its own choice. What
//! escapes both ways has left its group, lost its parent, and cleaned its environment.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
};

use super::process::Child;

/// Times that everybody is looked at: who is found may have started another meanwhile.
const ROUNDS: usize = 8;

/// Most descendants of one process that are looked at: a task that forks without end is not followed for ever.
const MOST: usize = 4096;

/// All that a living process has started, each with its parent, parents first. Empty where the kernel
/// does not tell (`CONFIG_PROC_CHILDREN`).
pub(crate) fn below(pid: u32) -> Vec<(u32, u32)> {
    let of = |parent| children(parent).into_iter().map(move |child| (child, parent));
    let mut found: Vec<_> = of(pid).collect();
    let mut at = 0;
    while at < found.len().min(MOST) {
        found.extend(of(found[at].0));
        at += 1;
    }
    found
}

/// Processes started by any thread of this one.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Takes hold of everybody that a living process has started, whatever group they are in.
pub(crate) fn descendants(pid: u32) -> Vec<Child> {
    let held = below(pid).into_iter().filter_map(|(child, parent)| {
        let held = Child::watch(child).ok()?;
        // Still there: so the number has not passed to somebody else before it was held.
        children(parent).contains(&child).then_some(held)
    });
    held.collect()
}

/// Kills everybody, but this process, who was started with `mark` among the words, one `/` apart, of this variable of the
/// environment. Gives how many there were.
pub(crate) fn kill_marked(variable: &str, mark: &str) -> usize {
    let mut killed = BTreeSet::new();
    // All processes of the system are looked at after each death: one buffer, and one read, for nearly all of them.
    let mut environment = Vec::with_capacity(64 << 10);
    let mut is_marked = |pid| {
        environment.clear();
        // Others' environments cannot be read, nor can those of processes that have ended.
        let read = File::open(format!("/proc/{pid}/environ")).and_then(|mut file| file.read_to_end(&mut environment));
        read.is_ok() && has_mark(&environment, variable, mark)
    };
    for _ in 0..ROUNDS {
        let found: Vec<u32> = processes().filter(|&pid| !killed.contains(&pid) && is_marked(pid)).collect();
        if found.is_empty() {
            break;
        }
        for pid in found {
            if let Ok(process) = Child::watch(pid)
                && is_marked(pid)
            {
                process.kill();
            }
            killed.insert(pid);
        }
    }
    killed.len()
}

fn processes() -> impl Iterator<Item = u32> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |&pid| pid != own)
}

fn has_mark(environment: &[u8], variable: &str, mark: &str) -> bool {
    let values = environment.split(|&byte| byte == 0).filter_map(|pair| {
        let value = pair.strip_prefix(variable.as_bytes())?;
        value.strip_prefix(b"=")
    });
    values.flat_map(|value| value.split(|&byte| byte == b'/')).any(|word| word == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_mark_is_a_word_of_the_variable() {
        let environment = b"PATH=/5f1c\0MARKS=/5f1c\0MARK=/0a/5f1c/77\0";
        assert!(has_mark(environment, "MARK", "5f1c") && has_mark(environment, "MARK", "77"));
        assert!(!has_mark(environment, "MARK", "5f") && !has_mark(environment, "OTHER", "5f1c"));
        assert!(!has_mark(b"PATH=/5f1c\0MARKS=/5f1c\0", "MARK", "5f1c"));
    }

    #[test]
    fn who_is_marked_is_killed_and_nobody_else() {
        let start = |mark: &str| {
            let child = Command::new("sleep").arg("60").env("MARK", mark).spawn().unwrap();
            // The system shows the environment a moment after the program has begun.
            while fs::read(format!("/proc/{}/environ", child.id())).unwrap().is_empty() {
                std::thread::yield_now();
            }
            child
        };
        let (mut ours, mut other) = (start("5f1c2b7a90d3e846"), start("0000000000000000"));
        assert_eq!(kill_marked("MARK", "5f1c2b7a90d3e846"), 1);
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(kill_marked("MARK", "5f1c2b7a90d3e846"), 0);
    }

    #[test]
    fn children_of_children_are_found() {
        let script = "sleep 60 & echo; wait";
        let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        // The sleep is there when the line is.
        std::io::Read::read_exact(&mut shell.stdout.take().unwrap(), &mut [0]).unwrap();
        let found = descendants(shell.id());
        assert_eq!(found.len(), 1);
        found[0].kill();
        assert!(shell.wait().unwrap().success(), "it waited for the sleep alone");
    }
}
