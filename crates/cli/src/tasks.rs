//! The tasks of the `taskloom` program: something to try the commands on. The demo runs them too.

use std::{
    fs::File,
    hint::black_box,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use taskloom::task;

use crate::crash;

/// What is in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Its size.
    pub(crate) bytes: u64,
    /// How many line feeds it has.
    pub(crate) lines: u64,
    /// How many runs of bytes that are no white space.
    pub(crate) words: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// Counts a file's bytes, lines and words; takes its SHA-256. Any file will do: words are what stands between ASCII
/// white space.
#[task(name = "taskloom::count_words")]
pub(crate) fn count_words(path: PathBuf) -> anyhow::Result<Counts> {
    let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut buffer = vec![0; 64 << 10];
    let mut counts = Counts::default();
    let mut hash = Sha256::new();
    let mut in_word = false;
    loop {
        let length = file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
        let piece = &buffer[..length];
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        counts.bytes += length as u64;
        for byte in piece {
            counts.lines += u64::from(*byte == b'\n');
            let word = !byte.is_ascii_whitespace();
            counts.words += u64::from(word && !in_word);
            in_word = word;
        }
    }
    counts.sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(counts)
}

/// Computes for some 10 ms; the result depends on the seed.
#[task(name = "taskloom::spin")]
pub(crate) fn spin(seed: u64) -> u64 {
    // Not optimised, a step takes ten times as long.
    let steps = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
    // PCG's linear congruential generator (O'Neill 2014): a chain that no compiler shortens.
    (0..steps).fold(seed, |state, _| {
        black_box(state).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
    })
}

/// Waits so many milliseconds, and gives them back.
#[task(name = "taskloom::sleep_ms")]
pub(crate) fn sleep_ms(ms: u64) -> u64 {
    thread::sleep(Duration::from_millis(ms));
    ms
}

/// An answer of a web server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fetched {
    /// The status of the answer: 200 if all is well.
    pub(crate) status: u16,
    /// Size of its body.
    pub(crate) bytes: usize,
}

/// Fetches `http://host:port/path`, without TLS. The request is a plain HTTP/1.0 one.
#[task(name = "taskloom::fetch")]
pub(crate) fn fetch(url: String) -> anyhow::Result<Fetched> {
    let Some(rest) = url.strip_prefix("http://") else { bail!("only http:// is spoken here, not {url}") };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(&address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("no answer from {address}"))?;
    let head =
        answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no end of its head")?;
    let status_line = String::from_utf8_lossy(&answer[..head]);
    let status =
        status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok(Fetched { status, bytes: answer.len() - head - 4 })
}

/// Writes a text to standard error, and gives it back.
#[task(name = "taskloom::say")]
pub(crate) fn say(text: String) -> String {
    eprintln!("{text}");
    text
}

/// Reads through a null pointer, and dies by SIGSEGV. So does the process that runs it.
#[task(name = "taskloom::segfault")]
pub(crate) fn segfault() -> u8 {
    eprintln!("about to follow a null pointer");
    crash::follow_null()
}

/// Ends its process, as a library that calls `exit` does.
#[task(name = "taskloom::exit_with")]
pub(crate) fn exit_with(code: i32) {
    eprintln!("about to call exit({code})");
    std::process::exit(code)
}

/// Panics with a message.
#[task(name = "taskloom::panic_with")]
pub(crate) fn panic_with(message: String) {
    panic!("{message}")
}

/// Gives an error with a message.
#[task(name = "taskloom::fail_with")]
pub(crate) fn fail_with(message: String) -> anyhow::Result<()> {
    ensure!(message.is_empty(), message);
    Ok(())
}

/// Says that it starts, waits, and says that it is done.
#[task(name = "taskloom::wait_aloud")]
pub(crate) fn wait_aloud(name: String, ms: u64) {
    println!("      {name}: Starting task");
    thread::sleep(Duration::from_millis(ms));
    println!("      {name}: Task completed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_counted_as_wc_does() {
        let counts = count_words(concat!(env!("CARGO_MANIFEST_DIR"), "/src/exit.rs").into()).unwrap();
        let text = include_str!("exit.rs");
        assert_eq!(counts.words, text.split_ascii_whitespace().count() as u64);
        assert_eq!((counts.bytes, counts.lines), (text.len() as u64, text.lines().count() as u64));
    }

    #[test]
    fn the_hash_is_the_standards() {
        // FIPS 180-4's empty message.
        let counts = count_words("/dev/null".into()).unwrap();
        assert_eq!(counts.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn other_protocols_are_refused() {
        assert!(fetch("https://example.org/".to_owned()).is_err());
    }
}
