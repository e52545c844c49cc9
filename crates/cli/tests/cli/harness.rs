//! A command line to type, a folder to type it in, and what came of it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A folder of a test's own, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("cli-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn with(self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.join(name.as_ref()), content).expect("a file");
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The program, to be run here with these words.
    pub(crate) fn command(&self, words: &str) -> Command {
        self.command_of(words.split_whitespace())
    }

    /// The same with words that may contain spaces.
    pub(crate) fn command_of(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taskloom"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").env("LC_ALL", "C");
        // Nothing of the user's own; and a record only where the test is about records.
        command.env("TASKLOOM_STATE", self.state()).env("XDG_CONFIG_HOME", self.state()).env("TASKLOOM_RECORD", "none");
        command
    }

    /// Where records are kept. Hidden: no pattern of a test means it.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join(".state")
    }

    /// The same command line, with a record.
    pub(crate) fn recorded_command(&self, words: &str) -> Command {
        let mut command = self.command(words);
        command.env_remove("TASKLOOM_RECORD").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn recorded(&self, words: &str) -> Ran {
        self.recorded_with(words, "")
    }

    pub(crate) fn recorded_with(&self, words: &str, input: impl AsRef<[u8]>) -> Ran {
        let mut child = self.recorded_command(words).spawn().expect("it starts");
        // It may have ended without reading.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_ref());
        Ran::of(words, child.wait_with_output().expect("it ends"))
    }

    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(words, self.command(words).output().expect("it starts"))
    }

    /// What a shell makes of a line, here. Nothing is recorded.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.path()).env("TASKLOOM_RECORD", "none");
        Ran::of(line, shell.output().expect("a shell"))
    }

    /// `exec` with these options, this command behind them, and nothing on standard input.
    pub(crate) fn exec(&self, options: &str, command: &[&str]) -> Ran {
        self.exec_with(options, command, "")
    }

    /// The same with something to read.
    pub(crate) fn exec_with(&self, options: &str, command: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut child = self.exec_command(options, command).spawn().expect("it starts");
        // It may have ended without reading.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_ref());
        Ran::of(options, child.wait_with_output().expect("it ends"))
    }

    /// `exec`, with pipes for everything.
    pub(crate) fn exec_command(&self, options: &str, command: &[&str]) -> Command {
        let words = ["exec"].into_iter().chain(options.split_whitespace()).chain(["--"]);
        let mut command = self.command_of(words.chain(command.iter().copied()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `exec` where it needs no files.
pub(crate) fn exec(options: &str, command: &[&str]) -> Ran {
    Folder::new().exec(options, command)
}

/// Runs the program where it needs no files.
pub(crate) fn run(words: &str) -> Ran {
    Folder::new().run(words)
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    words: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(words: &str, output: Output) -> Self {
        Self {
            words: words.to_owned(),
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{self:#?}");
        assert!(!self.err.contains("panicked at crates/cli/src/"), "the program panicked: {self:#?}");
        self
    }

    /// Checks that standard error has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no `{text}` in what `{}` said:\n{}", self.words, self.err);
        self
    }

    /// Checks that standard error is this text.
    #[track_caller]
    pub(crate) fn says_exactly(self, text: &str) -> Self {
        assert_eq!(self.err, text, "{}", self.words);
        self
    }

    /// Checks that there is no result.
    #[track_caller]
    pub(crate) fn no_results(self) -> Self {
        assert_eq!(self.out, "", "{}", self.words);
        self
    }

    /// The results, sorted.
    pub(crate) fn sorted(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.out.lines().collect();
        lines.sort_unstable();
        lines
    }
}

/// Whoever writes inputs, one after the other, gets the result of each while the input is still open.
pub(crate) fn answers_as_it_is_asked(mut child: Child) {
    let mut input = child.stdin.take().unwrap();
    let mut results = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 1..4 {
        writeln!(input, "{n}").unwrap();
        // Would wait for ever if results waited for the end of the input.
        assert_eq!(results.next().unwrap().unwrap(), n.to_string());
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Sends a signal by its name.
pub(crate) fn send(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap().success());
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// `R`, `S`, `T`, `Z` as `ps` shows it.
pub(crate) fn state(pid: &str) -> String {
    let Ok(stat) = fs::read_to_string(Path::new("/proc").join(pid).join("stat")) else { return "gone".to_owned() };
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}
