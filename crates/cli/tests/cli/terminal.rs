//! What people see: the program in a pseudo-terminal, whose screen is compared as text.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::harness::{Folder, Ran, until};

/// A terminal with the program in its foreground.
struct Screen {
    keys: File,
    child: Child,
    /// What has been drawn, and all bytes that drew it.
    seen: Arc<Mutex<(vt100::Parser, Vec<u8>)>>,
    reader: thread::JoinHandle<()>,
    _folder: Folder,
}

impl Screen {
    fn start(folder: Folder, words: &str, size: (u16, u16), settle: impl FnOnce(&mut Command)) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let terminal: OwnedFd = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let (ws_row, ws_col) = size;
        tcsetwinsize(&terminal, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        // It makes the terminal the program's own, so that Ctrl-C typed there is a signal.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_taskloom")]).args(words.split_whitespace());
        command.current_dir(folder.path()).env("TASKLOOM_STATE", folder.state()).env("TASKLOOM_RECORD", "none");
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").env_remove("RUST_LOG");
        settle(&mut command);
        let copy = || terminal.try_clone().unwrap();
        let child = command.stdin(copy()).stdout(copy()).stderr(terminal).spawn().unwrap();
        let seen = Arc::new(Mutex::new((vt100::Parser::new(ws_row, ws_col, 1000), Vec::new())));
        let (keys, drawn) = (File::from(keys), seen.clone());
        let mut from = keys.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody has the terminal any more.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut drawn = drawn.lock().unwrap();
                drawn.0.process(&buffer[..length]);
                drawn.1.extend_from_slice(&buffer[..length]);
            }
        });
        Self { keys, child, seen, reader, _folder: folder }
    }

    fn text(&self) -> String {
        self.seen.lock().unwrap().0.screen().contents()
    }

    fn shows(&self, text: &str) {
        until(&format!("`{text}` on the screen"), || self.text().contains(text));
    }

    fn press_ctrl_c(&mut self) {
        self.keys.write_all(b"\x03").unwrap();
    }

    /// Its exit code, what is left on the screen, and what was written to get there.
    fn ends(mut self) -> (Option<i32>, String, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.join().unwrap();
        let seen = self.seen.lock().unwrap();
        (code, seen.0.screen().contents(), String::from_utf8_lossy(&seen.1).into_owned())
    }
}

fn slow() -> Folder {
    Folder::new().with("ms", "1\n1\n1500\n600000\n")
}

#[test]
fn a_bar_moves_and_is_gone_at_the_end() {
    let mut screen = Screen::start(slow(), "run sleep_ms -i ms -j 1 -b procs -o out", (24, 100), |_| {});
    screen.shows("Starting sleep_ms: 4 inputs, procs x 1");
    screen.shows(" 2/4  1 running  ok 2");
    assert!(screen.text().contains("█░"), "{}", screen.text());
    screen.shows(" 3/4  1 running  ok 3  about ");
    screen.press_ctrl_c();
    screen.shows("Stopping: 1 running task has 10s to finish (Ctrl-C again kills them)");
    screen.press_ctrl_c();
    let (code, text, _) = screen.ends();
    assert_eq!(code, Some(130), "{text}");
    assert!(!text.contains("Running ["), "the bar is gone:\n{text}");
    assert!(text.contains("────────────\n Summary ["), "{text}");
    assert!(text.contains("interrupted: 3 of 4 done (3 ok), 1 cancelled, 0 not started"), "{text}");
}

#[test]
fn commands_that_run_are_counted_too() {
    let mut screen = Screen::start(Folder::new(), "exec -j 2 ::: 600 600 600 -- sleep", (24, 100), |_| {});
    screen.shows(" 0/3  2 running  ok 0");
    screen.press_ctrl_c();
    let (code, text, _) = screen.ends();
    assert_eq!(code, Some(130), "{text}");
}

#[test]
fn failures_stand_above_the_bar_in_red() {
    let folder = Folder::new().with("messages", "boom\u{1b}[2Jx\n\n");
    let screen = Screen::start(folder, "run fail_with --lines messages -b inline", (24, 80), |_| {});
    let (code, text, bytes) = screen.ends();
    assert_eq!(code, Some(100));
    assert!(text.contains("    FAIL [") && text.contains("#1 fail_with boom\\u{1b}[2Jx"), "{text}");
    assert!(bytes.contains("\x1b[1;31mFAIL\x1b[0m"), "{bytes:?}");
}

#[test]
fn narrow_terminals_get_one_line_all_the_same() {
    for columns in [10, 20, 40, 79] {
        let mut screen = Screen::start(slow(), "run sleep_ms -i ms -j 1 -b procs -o out", (24, columns), |_| {});
        screen.shows(" Runni");
        // Drawn several times a second: were it too long, the screen would fill.
        until("it was drawn often", || screen.seen.lock().unwrap().1.windows(5).filter(|w| w == b"Runni").count() > 8);
        assert_eq!(screen.text().matches("Runni").count(), 1, "{}", screen.text());
        screen.press_ctrl_c();
        until("it hears", || screen.text().contains("Stop"));
        screen.press_ctrl_c();
        let (code, text, _) = screen.ends();
        assert_eq!(code, Some(130));
        assert!(!text.contains("Runni"), "{columns}: what `^C` pushed away is left:\n{text}");
    }
}

#[test]
fn the_environment_decides_on_colours_and_signs() {
    let run = |settle: fn(&mut Command)| {
        let folder = Folder::new().with("messages", "bö\n");
        Screen::start(folder, "run fail_with --lines messages -b inline", (24, 80), settle).ends().2
    };
    let colour = "\x1b[1;31m";
    let plain = run(|command| _ = command.env("NO_COLOR", "1"));
    assert!(!plain.contains(colour) && plain.contains("────"), "{plain:?}");
    assert!(run(|command| _ = command.env("NO_COLOR", "")).contains(colour));
    let dumb = run(|command| _ = command.env("TERM", "dumb"));
    assert!(!dumb.contains('\x1b') && !dumb.contains("Running ["), "{dumb:?}");
    let ascii = run(|command| _ = command.env("LC_ALL", "C"));
    assert!(ascii.is_ascii() && ascii.contains("------------") && ascii.contains("b\\u{f6}"), "{ascii:?}");
    // Not a terminal.
    let folder = Folder::new().with("messages", "x\n");
    let run = |options: &str, name: &str, value: &str| {
        let words = format!("run fail_with --lines messages -b inline {options}");
        let mut command = folder.command(&words);
        command.env_remove("NO_COLOR").env(name, value);
        Ran::of(&words, command.output().unwrap()).code(100).err
    };
    assert!(!run("", "TERM", "xterm").contains('\x1b'));
    assert!(run("", "CLICOLOR_FORCE", "1").contains(colour));
    assert!(!run("", "CLICOLOR_FORCE", "0").contains(colour));
    assert!(run("--color always", "NO_COLOR", "1").contains(colour));
    assert!(!run("--color never", "CLICOLOR_FORCE", "1").contains(colour));
}

#[test]
fn off_a_terminal_lines_say_how_far_it_is() {
    // There is a line every ten seconds: on a busy machine a little later, and still before the end.
    let folder = Folder::new().with("ms", "1\n12500\n");
    let ran = folder.run("run sleep_ms -i ms -b inline -j 1 --progress none").code(0);
    assert!(!ran.err.contains("progress"), "{}", ran.err);
    let ran = folder.run("run sleep_ms -i ms -b threads -j 1 -v").code(0);
    assert_eq!(ran.err.matches("progress 1/2, 0 failed, 1").count(), 1, "{}", ran.err);
    ran.says("      ok [").says("#2 sleep_ms 12500\n");
    let screen = Screen::start(slow(), "run sleep_ms -i ms --only 1,2 --progress lines -o out", (24, 80), |_| {});
    assert!(!screen.ends().2.contains("Running ["));
    folder.run("run sleep_ms -i ms -q -v").code(2).says("cannot be used with");
}
