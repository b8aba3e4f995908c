//! Turns the texts in `data/` into static tables, so that nothing is parsed when a program starts. What a line of theirs
//! means is said at the top of each; a line that means nothing stops the build with its place.

mod ranking;
mod registry;
mod texts;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=data");
    let registry = registry::tables(&read("registry.txt"));
    write("names", &registry.pool);
    write("registry.rs", &registry.code);
    write("ranking.rs", &ranking::table(&read("ranking.txt")));
    write("services.rs", &texts::tables(&read("services.txt")));
}

fn read(name: &str) -> String {
    let path = Path::new("data").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn write(name: &str, text: &str) {
    let path = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
