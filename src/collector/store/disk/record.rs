//! A release as it lies in the store: the signed document, and beside it every noised cell.
//!
//! The cells are kept unclamped, also those that the document suppresses: a sum over windows or campaigns is computed
//! from all of them, since one over the shown cells alone would be too large. Each is noised by both aggregators
//! before it gets here, so keeping it costs no privacy; it is not published either.

use zeroize::Zeroizing;

/// Bytes before the signed text: its length, big endian.
const LENGTH_BYTES: usize = 4;

/// More than seven bits in each of so many bytes is no i128.
const CELL_BYTES_MAX: usize = 19;

/// The most bytes that [`encode`] makes of a signed text of so many bytes and so many cells.
pub(in crate::collector) fn bytes_max(signed_bytes: usize, cells: usize) -> usize {
    LENGTH_BYTES + signed_bytes + cells * CELL_BYTES_MAX
}

/// The signed text after its length, then each cell as a variable-length number of seven bits a byte, the sign in the
/// lowest bit, to the end. Zeroed when dropped, for its cells.
pub(super) fn encode(signed: &str, cells: &[i128]) -> Option<Zeroizing<Vec<u8>>> {
    let length = u32::try_from(signed.len()).ok()?;
    // All of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max(signed.len(), cells.len())));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(signed.as_bytes());
    for cell in cells {
        let mut rest = ((cell << 1) ^ (cell >> 127)).cast_unsigned();
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap_or_default();
            rest >>= 7;
            bytes.push(if rest == 0 { low } else { low | 0x80 });
            if rest == 0 {
                break;
            }
        }
    }
    Some(bytes)
}

/// The signed text and the encoded cells; `None` for bytes that [`encode`] does not make.
pub(super) fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_at_checked(LENGTH_BYTES)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let (signed, cells) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((std::str::from_utf8(signed).ok()?, cells))
}

/// The cells of [`split`].
pub(super) fn cells(mut bytes: &[u8]) -> Option<Zeroizing<Vec<i128>>> {
    // No cell takes less than a byte.
    let mut cells = Zeroizing::new(Vec::with_capacity(bytes.len()));
    while !bytes.is_empty() {
        let mut value: u128 = 0;
        let mut shift = 0;
        loop {
            let (&byte, rest) = bytes.split_first()?;
            bytes = rest;
            let low = u128::from(byte & 0x7f);
            // The last of 19 bytes has two bits of the number.
            if shift >= 128 || (low << shift) >> shift != low || (byte == 0 && shift > 0) {
                return None;
            }
            value |= low << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        cells.push((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
    }
    Some(cells)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_range_come_back() {
        let all = [0, -1, 1, 63, -64, 64, i128::MAX, i128::MIN, i128::MAX - 1];
        let bytes = encode("a.b.c", &all).unwrap();
        let (signed, rest) = split(&bytes).unwrap();
        assert_eq!((signed, &cells(rest).unwrap()[..]), ("a.b.c", &all[..]));
        assert_eq!(cells(&[]).unwrap().len(), 0);
        // Cut short, a zero byte at the end of a number, and one of more than 128 bits.
        for wrong in [vec![0x80], vec![0x81, 0], [vec![0xff; 18], vec![4]].concat(), vec![0xff; 30]] {
            assert!(cells(&wrong).is_none(), "{wrong:?}");
        }
        for wrong in [&b""[..], b"\0\0\0", b"\0\0\0\x02x", b"\xff\xff\xff\xffx", b"\0\0\0\x01\xff"] {
            assert!(split(wrong).is_none(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cells_come_back(all: Vec<i128>, text: String) {
            let bytes = encode(&text, &all).unwrap();
            let (signed, rest) = split(&bytes).unwrap();
            prop_assert_eq!(signed, text);
            prop_assert_eq!(&cells(rest).unwrap()[..], &all[..]);
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
            if let Some((signed, rest)) = split(&bytes)
                && let Some(found) = cells(rest)
            {
                let again = encode(signed, &found).unwrap();
                prop_assert_eq!(&again[..], &bytes[..]);
            }
        }
    }
}
