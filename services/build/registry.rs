//! `data/registry.txt`: one name of one port a line. All names and descriptions go into one pool of text; a row of the
//! table is a port and where its text lies.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The pool, and `ROWS` and `BY_NAME` as code.
pub(crate) struct Tables {
    pub(crate) pool: String,
    pub(crate) code: String,
}

struct Row<'a> {
    port: u16,
    protocols: u8,
    name: &'a str,
    description: &'a str,
}

/// Rows as they stand (by port, a port's own name first), and their numbers by name.
pub(crate) fn tables(text: &str) -> Tables {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Row<'_>> =
        lines.map(|line| row(line).unwrap_or_else(|| panic!("registry.txt: cannot read {line:?}"))).collect();
    assert!(rows.is_sorted_by_key(|row| row.port), "registry.txt is not in the order of ports");
    let mut pool = Pool::default();
    let mut code = format!("static ROWS: [Row; {}] = [\n", rows.len());
    for row in &rows {
        let start = pool.place(row);
        let lengths = (length(row.name), length(row.description));
        let _ = writeln!(code, "Row({},{},{start},{},{}),", row.port, row.protocols, lengths.0, lengths.1);
    }
    let _ = writeln!(code, "];\nstatic BY_NAME: [u16; {}] = {:?};", rows.len(), by_name(&rows));
    Tables { pool: pool.text, code }
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut fields = line.splitn(4, '\t');
    let port = fields.next()?.parse().ok()?;
    let protocols = match fields.next()? {
        "tcp" => 1,
        "udp" => 2,
        "tcp,udp" => 3,
        _ => return None,
    };
    Some(Row { port, protocols, name: fields.next()?, description: fields.next()? })
}

/// Names are ASCII; they are looked up whatever their case.
fn by_name(rows: &[Row<'_>]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..rows.len()).collect();
    numbers.sort_by_key(|&number| (rows[number].name.to_ascii_lowercase(), number));
    numbers
}

fn length(text: &str) -> u8 {
    u8::try_from(text.len()).unwrap_or_else(|_| panic!("registry.txt: {text:?} is longer than 255 bytes"))
}

/// Name and description of each pair once: most services have the same for TCP and UDP, and some for several ports.
#[derive(Default)]
struct Pool {
    text: String,
    places: HashMap<String, usize>,
}

impl Pool {
    fn place(&mut self, row: &Row<'_>) -> usize {
        let pair = format!("{}{}", row.name, row.description);
        let end = self.text.len();
        let place = *self.places.entry(pair.clone()).or_insert(end);
        if place == end {
            self.text.push_str(&pair);
        }
        place
    }
}
