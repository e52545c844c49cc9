//! Words as a POSIX shell reads them.

/// The word, in single quotes if it needs any.
pub(crate) fn quote(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in word {
        // A quote cannot stand between quotes: they end, one stands alone, they begin again.
        if byte == b'\'' { quoted.extend_from_slice(b"'\\''") } else { quoted.push(byte) }
    }
    quoted.push(b'\'');
    quoted
}

/// Words in one line.
pub(crate) fn line<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Vec<u8> {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let words: [&[u8]; 8] =
            [b"", b"a b", b"it's", b"$HOME `x` \\", b"--x=1,2", b"\n\t", b"*?[a]{b}~", b"\xff'\xfe"];
        let mut script = b"printf '%s\\0' ".to_vec();
        script.extend(line(words));
        let script: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(script);
        let read = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap().stdout;
        let expected: Vec<u8> = words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect();
        assert_eq!(read, expected);
    }
}
