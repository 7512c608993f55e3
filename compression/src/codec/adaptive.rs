//! An adaptive binary range coder, for small inputs: models, codebooks, short tensors. It needs no
//! table, since each bit's probability is learned from the bits before it.
//!
//! The arithmetic is that of LZMA (Martin 1979 with 32 bits and carries; Pavlov's LZMA
//! specification) with two changes. Probabilities are finer, and learn faster at first. The end has
//! no spare bytes: bytes past the end are zeros.

/// Limit below which the range is refilled.
const RANGE_MIN: u32 = 1 << 24;
/// Number of bits without a model that are coded at once.
const UNIFORM_BITS: u32 = 8;
/// Learning rate: right shift of the distance between a probability and the coded bit, for the
/// first bits and from then on. About 1/(n + 2), down to 1/32.
const SHIFTS: [u8; 20] = [1, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5];

/// The probability of a bit, learned as it is used.
#[derive(Debug, Clone, Copy)]
struct Probability {
    /// Probability that the bit is 0, in parts of 2^16. It is never 0 nor 2^16, since the shift
    /// leaves some distance.
    zero: u16,
    uses: u8,
}

impl Probability {
    const HALF: Self = Self { zero: 1 << 15, uses: 0 };

    /// Returns the part of `range` for a 0: less than `range`, more than 0.
    fn bound(self, range: u32) -> u32 {
        (range >> 16) * u32::from(self.zero)
    }

    fn learn(&mut self, bit: bool) {
        let shift = SHIFTS[usize::from(self.uses)];
        self.uses = (self.uses + 1).min(SHIFTS.len() as u8 - 1);
        let distance = if bit { self.zero } else { self.zero.wrapping_neg() };
        if bit {
            self.zero -= distance >> shift;
        } else {
            self.zero += distance >> shift;
        }
    }
}

/// Probabilities of numbers of up to `bits` bits: one for each bit, given the bits before it.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// Probabilities by path: index 1 for the highest bit, then the bits so far with a 1 in front.
    probabilities: Vec<Probability>,
    bits: u32,
}

impl Tree {
    /// Creates the tree of numbers below `2^bits`; `bits` is at most 16.
    pub(crate) fn new(bits: u32) -> Self {
        Self { probabilities: vec![Probability::HALF; 1 << bits], bits }
    }
}

/// Writes bits.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    /// Lower end of the range: 32 bits, and a carry above.
    low: u64,
    range: u32,
    /// Last byte, which a carry may still change; 0 before the first.
    pending: u8,
    /// Number of bytes of 0xFF after it, which a carry would turn to 0.
    pending_ff: usize,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), low: 0, range: u32::MAX, pending: 0, pending_ff: 0 }
    }

    /// Writes a number below `2^bits` of the tree.
    pub(crate) fn put(&mut self, tree: &mut Tree, value: u32) {
        let mut path = 1;
        for shift in (0..tree.bits).rev() {
            let bit = value >> shift & 1 == 1;
            self.put_bit(&mut tree.probabilities[path], bit);
            path = path << 1 | usize::from(bit);
        }
    }

    /// Writes the lowest `bits` bits of `value`, each as likely 0 as 1. Groups of eight come first,
    /// from the highest on, then the rest.
    pub(crate) fn put_uniform(&mut self, value: u64, mut bits: u32) {
        while bits > 0 {
            let group = bits.min(UNIFORM_BITS);
            bits -= group;
            self.range >>= group;
            let digit = value >> bits & ((1 << group) - 1);
            self.low += u64::from(self.range) * digit;
            self.refill();
        }
    }

    fn put_bit(&mut self, probability: &mut Probability, bit: bool) {
        let bound = probability.bound(self.range);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        probability.learn(bit);
        self.refill();
    }

    fn refill(&mut self) {
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift_out();
        }
    }

    /// Moves the highest byte of `low` out.
    fn shift_out(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if carry == 0 && top == 0xFF {
            self.pending_ff += 1;
        } else {
            self.bytes.push(self.pending.wrapping_add(carry));
            let filled = if carry == 0 { 0xFF } else { 0 };
            self.bytes.resize(self.bytes.len() + self.pending_ff, filled);
            (self.pending, self.pending_ff) = (top, 0);
        }
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    /// Returns the bytes of the number in the range with the fewest bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let high = self.low + u64::from(self.range) - 1;
        let shortest = (0..=32).rev().map(|zeros| high >> zeros << zeros);
        self.low = shortest.into_iter().find(|value| *value >= self.low).unwrap_or(high);
        for _ in 0..5 {
            self.shift_out();
        }
        // The first byte is the initial 0: the stream stands for a number below 1.
        self.bytes.remove(0);
        let kept = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.bytes.truncate(kept);
        self.bytes
    }
}

/// Reads the numbers that an [`Encoder`] wrote. From other bytes it reads other numbers, without
/// end: the caller must know how many.
pub(crate) struct Decoder<'a> {
    bytes: std::slice::Iter<'a, u8>,
    code: u32,
    range: u32,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes: bytes.iter(), code: 0, range: u32::MAX };
        for _ in 0..4 {
            decoder.shift_in();
        }
        decoder
    }

    /// Reads a number below `2^bits` of the tree.
    pub(crate) fn take(&mut self, tree: &mut Tree) -> u32 {
        let mut path = 1;
        for _ in 0..tree.bits {
            let bit = self.take_bit(&mut tree.probabilities[path]);
            path = path << 1 | usize::from(bit);
        }
        path as u32 - (1 << tree.bits)
    }

    /// Reads `bits` bits, each as likely 0 as 1.
    pub(crate) fn take_uniform(&mut self, mut bits: u32) -> u64 {
        let mut value = 0;
        while bits > 0 {
            let group = bits.min(UNIFORM_BITS);
            bits -= group;
            self.range >>= group;
            let digit = (self.code / self.range).min((1 << group) - 1);
            self.code -= digit * self.range;
            value = value << group | u64::from(digit);
            self.refill();
        }
        value
    }

    fn take_bit(&mut self, probability: &mut Probability) -> bool {
        let bound = probability.bound(self.range);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        probability.learn(bit);
        self.refill();
        bit
    }

    fn refill(&mut self) {
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift_in();
        }
    }

    fn shift_in(&mut self) {
        self.code = self.code << 8 | u32::from(self.bytes.next().copied().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[(u32, bool)], bits: u32) -> usize {
        let (mut tree, mut encoder) = (Tree::new(bits), Encoder::new());
        for (value, even) in values {
            if *even {
                encoder.put_uniform(u64::from(*value), bits);
            } else {
                encoder.put(&mut tree, *value);
            }
        }
        let bytes = encoder.finish();
        let (mut tree, mut decoder) = (Tree::new(bits), Decoder::new(&bytes));
        for (value, even) in values {
            let found =
                if *even { decoder.take_uniform(bits) as u32 } else { decoder.take(&mut tree) };
            assert_eq!(found, *value);
        }
        bytes.len()
    }

    proptest! {
        #[test]
        fn numbers_are_restored(values in proptest::collection::vec((0_u32..32, any::<bool>()), 0..300)) {
            round_trip(&values, 5);
        }

        #[test]
        fn skewed_numbers_are_restored(values in proptest::collection::vec((250_u32..256, Just(false)), 0..3000)) {
            round_trip(&values, 8);
        }

        #[test]
        fn any_bytes_are_read_without_end(bytes: Vec<u8>) {
            let (mut tree, mut decoder) = (Tree::new(6), Decoder::new(&bytes));
            for _ in 0..200 {
                prop_assert!(decoder.take(&mut tree) < 64);
                prop_assert!(decoder.take_uniform(7) < 128);
            }
        }
    }

    #[test]
    fn carries_propagate() {
        // After long runs of the likely bit, the unlikely one moves the low end up to a carry.
        for length in 0..200 {
            let values: Vec<_> =
                (0..length).map(|i| (u32::from(i % 61 != 60), i % 7 == 6)).collect();
            round_trip(&values, 1);
        }
    }

    #[test]
    fn repeated_symbols_cost_little() {
        assert_eq!(round_trip(&[], 8), 0);
        let same = vec![(200, false); 1000];
        // The limit holds 8 probabilities at their lowest, some 0.0007 bits each, and the cost of
        // learning.
        assert!(round_trip(&same, 8) < 30);
        let even: Vec<_> = (0..256).map(|value| (value, true)).collect();
        assert!(round_trip(&even, 8) <= 257);
    }
}
