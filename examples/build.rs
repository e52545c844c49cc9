//! Writes the first example with its backend changed, by that one word, for the tests to compare.

use std::{env, error::Error, fs, path::Path};

const EXAMPLE: &str = "01_first.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={EXAMPLE}");
    // Comments of the file itself cannot be included in the middle of another.
    let text: String = fs::read_to_string(EXAMPLE)?
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .flat_map(|line| [line, "\n"])
        .collect();
    for backend in ["threads", "inline"] {
        let path = Path::new(&env::var("OUT_DIR")?).join(format!("{backend}.rs"));
        fs::write(path, text.replace("procs", backend))?;
    }
    Ok(())
}
