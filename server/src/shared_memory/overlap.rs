//! Finds outputs whose memory another tensor of the request shares.

use super::region::Span;

/// Finds two spans that share bytes, one of which is an output. Spans are marked true if they are
/// outputs; the indices returned are theirs.
pub(super) fn overlap(spans: &[(Span, bool)]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> =
        (0..spans.len()).filter(|&index| spans[index].0.start < spans[index].0.end).collect();
    order.sort_unstable_by_key(|&index| spans[index].0);
    // Of the spans that began earlier, the one that ends last; of all, and of outputs.
    let (mut any, mut output): (Option<usize>, Option<usize>) = (None, None);
    for index in order {
        let (span, is_output) = spans[index];
        let before = if is_output { any } else { output };
        let meets = |other: &usize| {
            let other = spans[*other].0;
            other.memory == span.memory && other.end > span.start
        };
        if let Some(other) = before.filter(meets) {
            return Some((other, index));
        }
        let ends_later = |last: Option<usize>| {
            last.is_none_or(|last| {
                let last = spans[last].0;
                last.memory != span.memory || last.end < span.end
            })
        };
        if ends_later(any) {
            any = Some(index);
        }
        if is_output && ends_later(output) {
            output = Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(spans: &[(Span, bool)]) -> bool {
        let meet =
            |a: Span, b: Span| a.memory == b.memory && a.start.max(b.start) < a.end.min(b.end);
        let pairs =
            spans.iter().enumerate().flat_map(|(at, a)| spans[..at].iter().map(move |b| (a, b)));
        pairs.into_iter().any(|((a, first), (b, second))| (*first || *second) && meet(*a, *b))
    }

    proptest! {
        #[test]
        fn every_overlap_with_an_output_is_found(
            spans in prop::collection::vec((0_u64..2, 0_u64..30, 0_u64..6, any::<bool>()), 0..12)
        ) {
            let spans: Vec<_> = spans
                .into_iter()
                .map(|(memory, start, bytes, is_output)| {
                    (Span { memory: (0, memory), start, end: start + bytes }, is_output)
                })
                .collect();
            let found = overlap(&spans);
            prop_assert_eq!(found.is_some(), naive(&spans));
            if let Some((a, b)) = found {
                prop_assert!(naive(&[spans[a], spans[b]]));
            }
        }
    }
}
