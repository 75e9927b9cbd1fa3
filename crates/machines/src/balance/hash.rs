//! Hashes that are the same on every machine and in every release: what is spread by them stays where it is.
//!
//! They are no defence against someone who knows the seed and may choose what is hashed.

/// The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection in which every bit of the input turns
/// about half of those of the output.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The number with the index `turn` of the SplitMix64 sequence of `seed`. Since its whole state is a counter, any number
/// of threads draw from one sequence without a lock: each turn is somebody's own.
pub fn draw(seed: u64, turn: u64) -> u64 {
    mix(seed.wrapping_add(turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The hash of `bytes`: FNV-1a of 64 bits, seeded, and mixed since the high bits of FNV are weak for short inputs.
pub fn bytes(seed: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ mix(seed), step))
}

/// Scales a hash to `0..count` by its high bits (Lemire, "Fast random integer generation in an interval", 2019).
pub fn below(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let drawn: Vec<_> = (0..3).map(|turn| draw(1_234_567, turn)).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(bytes(0, b""), mix(0xcbf2_9ce4_8422_2325));
        assert_ne!(bytes(0, b"a"), bytes(1, b"a"));
    }

    /// A thousand short names in ten parts: no part is more than half as large again as it should be.
    #[test]
    fn short_names_spread() {
        let mut parts = [0; 10];
        for name in 0..1_000 {
            parts[below(bytes(0, format!("s{name}").as_bytes()), 10)] += 1;
        }
        assert!(parts.iter().all(|part| (50..150).contains(part)), "{parts:?}");
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, 0), 0);
    }
}
