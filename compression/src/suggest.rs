//! Suggests names for one that is unknown.

use strsim::levenshtein;

/// Limit of compared characters: names may come from a hostile file.
const LENGTH_MAX: usize = 256;

/// Returns the `count` names most like `wanted`, the most alike first (Levenshtein distance).
pub fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let wanted = shortened(wanted);
    let mut ranked: Vec<(usize, &str)> =
        names.map(|name| (levenshtein(&wanted, &shortened(name)), name)).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(count).map(|(_, name)| name.to_owned()).collect()
}

fn shortened(name: &str) -> String {
    name.chars().take(LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first() {
        let names = ["fire2/conv", "fire9/conv", "fc"];
        let near = nearest("fire9/cnov", names.into_iter(), 2);
        assert_eq!(near, ["fire9/conv", "fire2/conv"]);
    }
}
