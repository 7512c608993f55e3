//! Suggests names for one that is unknown.

/// Limit of compared characters: names may come from a hostile file.
const LENGTH_MAX: usize = 256;

/// Returns the `count` names most like `wanted`, the most alike first (Levenshtein distance).
pub fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let wanted: Vec<char> = wanted.chars().take(LENGTH_MAX).collect();
    let mut ranked: Vec<(usize, &str)> =
        names.map(|name| (distance(&wanted, name), name)).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(count).map(|(_, name)| name.to_owned()).collect()
}

/// How many characters must be put in, taken out or replaced to come from one to the other
/// (Levenshtein 1966, by the rows of Wagner and Fischer).
fn distance(wanted: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (index, found) in name.chars().take(LENGTH_MAX).enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, expected) in wanted.iter().enumerate() {
            let replaced = diagonal + usize::from(found != *expected);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_as_published() {
        let distance = |a: &str, b| super::distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("abc", "abc")), (3, 3, 0));
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["fire2/conv", "fire9/conv", "fc"];
        let near = nearest("fire9/cnov", names.into_iter(), 2);
        assert_eq!(near, ["fire9/conv", "fire2/conv"]);
    }
}
