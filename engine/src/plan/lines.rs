//! The lines of a target file, without line ends, byte order mark and comments (`#` to the end of the line), in one
//! buffer that is used again. What a line says is left to `intake`.

use super::malformed::shortened;
use crate::error::{Error, Place};
use std::borrow::Cow;
use std::io::{self, BufRead, Read};

/// Reads lines.
pub(crate) struct Lines<'a, R> {
    reader: R,
    name: Cow<'a, str>,
    buffer: Vec<u8>,
    number: u64,
    /// The last one was too long, and its rest has not been read.
    is_torn: bool,
}

/// The longest line, in bytes: what is longer is no list of targets but a file of another kind, and must not fill
/// memory.
const LONGEST: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<'a, R: BufRead> Lines<'a, R> {
    /// From the reader of that name.
    pub(crate) fn new(reader: R, name: impl Into<Cow<'a, str>>) -> Self {
        Lines { reader, name: name.into(), buffer: Vec::new(), number: 0, is_torn: false }
    }

    /// The next line's number, from 1, and the line, trimmed of white space; none at the end. After a line that is too long
    /// comes the one that follows it.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &[u8])>, Error> {
        self.buffer.clear();
        self.number += 1;
        if self.read().map_err(|source| Error::ReadTargets { name: self.name.to_string(), source })? == 0 {
            return Ok(None);
        }
        if self.buffer.len() > LONGEST {
            self.is_torn = self.buffer.last() != Some(&b'\n');
            return Err(self.too_long());
        }
        Ok(Some((self.number, self.content())))
    }

    /// Reads a line into the buffer, or the beginning of one that is too long; how many bytes.
    fn read(&mut self) -> io::Result<usize> {
        if std::mem::take(&mut self.is_torn) {
            self.reader.skip_until(b'\n')?;
        }
        (&mut self.reader).take(LONGEST as u64 + 1).read_until(b'\n', &mut self.buffer)
    }

    fn content(&self) -> &[u8] {
        let line = match self.number {
            1 => self.buffer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.buffer),
            _ => &self.buffer,
        };
        let end = line.iter().position(|&byte| byte == b'#').unwrap_or(line.len());
        line[..end].trim_ascii()
    }

    fn too_long(&self) -> Error {
        Error::Parse {
            place: Place { source: self.name.to_string(), line: Some(self.number) },
            token: shortened(&String::from_utf8_lossy(&self.buffer[..1024])),
            problem: format!("the line is longer than {LONGEST} bytes"),
            accepted: "expected a text file with one or more targets a line",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(bytes, "file");
        let mut found = Vec::new();
        while let Some((_, line)) = lines.next().unwrap() {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        found
    }

    #[test]
    fn comments_marks_and_line_ends() {
        assert_eq!(lines(b"\xef\xbb\xbfa\r\n\n# all\n  b\tc # rest\n\r\n#\nd"), ["a", "", "", "b\tc", "", "", "d"]);
        assert!(lines(b"").is_empty());
        assert_eq!(lines(b"a\n"), ["a"]);
        assert_eq!(lines(b"a # caf\xe9\n"), ["a"]);
    }

    #[test]
    fn a_line_without_end_does_not_fill_memory() {
        let mut endless = Lines::new(io::BufReader::new(io::repeat(b'1')), "endless");
        let error = endless.next().unwrap_err().to_string();
        let ones = "1".repeat(100);
        let expected = "the line is longer than 65536 bytes; expected a text file with one or more targets a line";
        assert_eq!(error, format!("endless:1: cannot read \"{ones}...\": {expected}"));
        assert!(endless.buffer.capacity() <= 2 * LONGEST + 2);
    }

    #[test]
    fn the_longest_line_is_read() {
        let mut text = vec![b' '; LONGEST - 2];
        text.extend(b"a\nb");
        assert_eq!(lines(&text), ["a", "b"]);
    }

    #[test]
    fn after_a_line_that_is_too_long_comes_the_next() {
        for more in [0, 1, 3 * LONGEST] {
            let text = ["1".repeat(LONGEST + more).as_bytes(), b"\nb\nc"].concat();
            let mut lines = Lines::new(&text[..], "file");
            let error = lines.next().unwrap_err().to_string();
            assert!(error.starts_with("file:1: ") && error.contains("is longer than"), "{error}");
            assert_eq!(lines.next().unwrap(), Some((2, &b"b"[..])), "{more}");
            assert_eq!(lines.next().unwrap(), Some((3, &b"c"[..])));
            assert_eq!(lines.next().unwrap(), None);
        }
    }

    #[test]
    fn a_reader_that_fails_is_named() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let error = Lines::new(io::BufReader::new(Broken), "hosts.txt").next().unwrap_err();
        assert_eq!(error.to_string(), "cannot read hosts.txt: disk on fire");
    }
}
