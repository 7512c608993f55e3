//! Tables of text, and numbers formatted for people.

/// Rows of cells under a header. All columns but the first are right-aligned.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with these columns.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Formats the table as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            let padded = cells.map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// Formats `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Formats dimensions as `64x3x3`; `scalar` where there are none.
pub(crate) fn shape(dims: &[u64]) -> String {
    if dims.is_empty() {
        return "scalar".to_owned();
    }
    dims.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

/// Formats bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["tensor", "bytes"]);
        table.row(["fc0.weight".to_owned(), grouped(1_234)]);
        table.row(["b".to_owned(), grouped(999)]);
        let expected = ["tensor      bytes", "fc0.weight  1,234", "b             999"];
        assert_eq!(table.lines(), expected);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let found = [0, 999, 1_000, 100_000, 1_234_567].map(grouped);
        assert_eq!(found, ["0", "999", "1,000", "100,000", "1,234,567"]);
        assert_eq!((shape(&[64, 3]).as_str(), shape(&[]).as_str()), ("64x3", "scalar"));
        assert_eq!((hex(&[0, 255]).as_str(), percent(0.005).as_str()), ("00ff", "0.50 %"));
    }
}
