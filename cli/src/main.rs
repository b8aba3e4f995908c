//! halfopen
fn main() {}
