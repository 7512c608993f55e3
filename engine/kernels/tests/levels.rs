//! Prints the levels that the tests run with, and checks that a limit on them is kept.

#![allow(clippy::print_stdout, reason = "prints the levels")]

use skysail_kernels::{LEVEL_VARIABLE, Level};

#[test]
fn levels_are_printed_and_limited() {
    let available: Vec<Level> = Level::ALL.into_iter().filter(|it| it.is_available()).collect();
    let names: Vec<&str> = available.iter().map(|level| level.name()).collect();
    println!("levels that the kernels are tested at: {}", names.join(", "));
    assert_eq!(
        (available.first(), available.last()),
        (Some(&Level::Portable), Some(&Level::best()))
    );
    let limit = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
    if let Some(limit) = Level::ALL.into_iter().find(|level| level.name() == limit) {
        assert!(Level::best() <= limit, "{} above {limit}", Level::best());
    }
}
