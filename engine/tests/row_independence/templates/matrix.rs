//! Products and recurrent layers.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{float, int, text};
use skysail_graph::ElementType::{Float32, Int32};

pub(crate) const ALL: &[Template] =
    &[matmul, matmul, matmul_of_weights, gemm, einsum, einsum, recurrent, recurrent, attention];

fn matmul_of_weights(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let inner = *x.dims.last()?;
    if m.chance(75) {
        let mut dims = vec![inner, m.side()];
        if m.chance(20) {
            dims.insert(0, m.pick(&[1, 2]));
        }
        let dims = if m.chance(15) { vec![inner] } else { dims };
        let weights = m.weights(&dims);
        m.one("MatMul", &[&x.name, &weights], vec![]);
    } else {
        let inner = if x.dims.len() == 1 { inner } else { x.dims[x.dims.len() - 2] };
        let side = m.side();
        let weights = m.weights(&[side, inner]);
        m.one("MatMul", &[&weights, &x.name], vec![]);
    }
    Some(())
}

/// Two values that can be multiplied; the second is transposed if needed.
pub(super) fn pair(m: &mut Generator) -> Option<(Value, Value)> {
    let x = m.floats(2)?;
    let rank = x.dims.len();
    let fits = |dims: &[usize]| {
        dims.len() >= 2
            && dims[dims.len() - 2] == x.dims[rank - 1]
            && dims.iter().rev().skip(2).zip(x.dims.iter().rev().skip(2)).all(|(a, b)| a == b)
    };
    if let Some(y) = m.value(|value| value.element == Float32 && fits(&value.dims)) {
        return Some((x, y));
    }
    let y = m.value(|value| value.element == Float32 && value.dims == x.dims)?;
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(rank - 1, rank - 2);
    let name = m.one("Transpose", &[&y.name], vec![crate::proto::ints("perm", &perm)]);
    let mut dims = y.dims.clone();
    dims.swap(rank - 1, rank - 2);
    Some((x, Value { name, dims, ..y }))
}

fn matmul(m: &mut Generator) -> Added {
    let (x, y) = pair(m)?;
    m.one("MatMul", &[&x.name, &y.name], vec![]);
    Some(())
}

fn gemm(m: &mut Generator) -> Added {
    let x = m.floats_of(2)?;
    let (turn_a, turn_b) = (m.chance(20), m.chance(40));
    let (rows, inner) = if turn_a { (x.dims[1], x.dims[0]) } else { (x.dims[0], x.dims[1]) };
    let side = m.side();
    let weights = m.weights(&if turn_b { [side, inner] } else { [inner, side] });
    let mut names = vec![x.name.clone(), weights];
    match m.below(5) {
        0 => names.push(m.weights(&[side])),
        1 => names.push(m.weights(&[1, side])),
        2 => names.push(m.weights(&[])),
        3 => {
            let other = m.value(|value| value.element == Float32 && value.dims == [rows, side]);
            names.extend(other.map(|other| other.name));
        }
        _ => {}
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let attributes = vec![
        int("transA", i64::from(turn_a)),
        int("transB", i64::from(turn_b)),
        float("alpha", 0.5),
    ];
    m.one("Gemm", &names, attributes);
    Some(())
}

fn einsum(m: &mut Generator) -> Added {
    (m.opset >= 12).then_some(())?;
    let x = m.value(|value| value.element == Float32 && (2..4).contains(&value.dims.len()))?;
    let rank = x.dims.len();
    let letters = ["a", "b", "c"][..rank].concat();
    if m.chance(25) {
        let mut output: Vec<char> = letters.chars().filter(|_| m.chance(70)).collect();
        output.reverse();
        let output: String = output.into_iter().collect();
        let equation = if m.chance(80) { format!("{letters}->{output}") } else { letters };
        m.one("Einsum", &[&x.name], vec![text("equation", &equation)]);
        return Some(());
    }
    let y = if m.chance(50) {
        m.value(|value| value.element == Float32 && value.dims == x.dims)?
    } else {
        let dims = if m.chance(50) { vec![x.dims[rank - 1], 2] } else { vec![2, x.dims[rank - 1]] };
        Value { name: m.weights(&dims), element: Float32, dims, rows: None }
    };
    let last = letters.chars().last()?;
    let equation = match (y.rows.is_some() || y.dims == x.dims, rank) {
        (true, 2) => m.pick(&[
            "ab,ab->ab",
            "ab,ab->a",
            "ab,cb->ac",
            "ab,ab->b",
            "ab,ac->abc",
            "...a,...a->...",
            "ab,ab",
        ]),
        (true, _) => m.pick(&[
            "abc,abc->ab",
            "abc,adc->abd",
            "abc,dbc->abd",
            "...ab,...cb->...ac",
            "abc,abd->acd",
        ]),
        (false, _) if y.dims[0] == x.dims[rank - 1] => {
            let equation = if m.chance(30) {
                format!("...{last},{last}z->...z")
            } else {
                format!("{letters},{last}z->{}z", &letters[..rank - 1])
            };
            m.one("Einsum", &[&x.name, &y.name], vec![text("equation", &equation)]);
            return Some(());
        }
        _ => {
            let equation = format!("{letters},z{last}->z{}", &letters[..rank - 1]);
            m.one("Einsum", &[&x.name, &y.name], vec![text("equation", &equation)]);
            return Some(());
        }
    };
    m.one("Einsum", &[&x.name, &y.name], vec![text("equation", equation)]);
    Some(())
}

/// A value of steps, batch and width for a recurrent layer, transposed if needed.
fn recurrent(m: &mut Generator) -> Added {
    let x = m.floats_of(3)?;
    let x = if x.rows == Some(0) && m.chance(70) {
        let name = m.one("Transpose", &[&x.name], vec![crate::proto::ints("perm", &[1, 0, 2])]);
        let dims = vec![x.dims[1], x.dims[0], x.dims[2]];
        Value { name, dims, rows: Some(1), ..x }
    } else {
        x
    };
    let (operator, gates) = m.pick(&[("LSTM", 4), ("GRU", 3), ("RNN", 1)]);
    let hidden = 2;
    let direction = m.pick(&["forward", "reverse", "bidirectional"]);
    let ways = if direction == "bidirectional" { 2 } else { 1 };
    let weights = m.weights(&[ways, gates * hidden, x.dims[2]]);
    let recurrent = m.weights(&[ways, gates * hidden, hidden]);
    let mut names = vec![x.name.clone(), weights, recurrent];
    if m.chance(60) {
        names.push(if m.chance(50) {
            m.weights(&[ways, 2 * gates * hidden])
        } else {
            String::new()
        });
        let (steps, batch) = (x.dims[0], x.dims[1]);
        if m.chance(40) {
            let places = m.places(|value| value.dims == [batch], steps);
            names.push(match places {
                Some(places) => {
                    let one = m.integers(&[], &[1]);
                    let lengths = m.one("Add", &[&places.name, &one], vec![]);
                    m.one("Cast", &[&lengths], vec![int("to", 6)])
                }
                None => m.few(Int32, &[batch], steps),
            });
        } else if m.chance(50) {
            names.push(String::new());
            let state =
                m.value(|value| value.element == Float32 && value.dims == [ways, batch, hidden]);
            match state {
                Some(state) => names.push(state.name),
                None if m.chance(20) => names.push(m.weights(&[ways, batch, hidden])),
                None => {}
            }
        }
    }
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let attributes = vec![int("hidden_size", hidden as i64), text("direction", direction)];
    m.many("", operator, &names, if operator == "LSTM" { 3 } else { 2 }, attributes);
    Some(())
}

fn attention(m: &mut Generator) -> Added {
    (m.opset >= 23).then_some(())?;
    let x = m.floats_of(3)?;
    let heads = 1;
    let sizes = vec![int("q_num_heads", heads), int("kv_num_heads", heads)];
    let y = m.value(|value| value.element == Float32 && value.dims == x.dims)?;
    if m.chance(50) {
        m.one("Attention", &[&x.name, &y.name, &y.name], sizes);
    } else {
        let mask = m.weights(&[x.dims[1], x.dims[1]]);
        m.one("Attention", &[&x.name, &y.name, &x.name, &mask], sizes);
    }
    Some(())
}
