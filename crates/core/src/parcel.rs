//! An encoded value that has arrived and has not been read: kept as it came until somebody wants it.

use crate::{
    blob::Blob,
    codec::{Encoded, Payload},
};

/// Most bytes that are kept in place.
const SHORT: usize = 14;

/// An encoded value. Most are short, and need no memory of their own.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    Short(u8, [u8; SHORT]),
    Long(Box<Payload>),
}

impl Default for Parcel {
    fn default() -> Self {
        Self::Short(0, [0; SHORT])
    }
}

impl Parcel {
    pub(crate) fn new(encoded: Encoded<'_>) -> Self {
        match encoded.plain() {
            Some(bytes) if bytes.len() <= SHORT => {
                let mut short = [0; SHORT];
                short[..bytes.len()].copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            _ => Self::Long(Box::new(encoded.into_payload())),
        }
    }

    /// Its bodies.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Blob> {
        let long = match self {
            Self::Short(..) => None,
            Self::Long(payload) => Some(payload),
        };
        long.into_iter().flat_map(|payload| payload.bodies())
    }

    /// Gives it to a reader; long byte strings in it are moved, if nobody else has them.
    pub(crate) fn open<R>(self, read: impl FnOnce(Encoded<'_>) -> R) -> R {
        match self {
            Self::Short(length, bytes) => read(Encoded::from(&bytes[..length.into()])),
            Self::Long(payload) => {
                let (bytes, bodies) = payload.into_parts();
                read(Encoded::new(&bytes, bodies))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Data, Postcard};

    #[test]
    fn results_of_all_sizes_come_out_as_they_went_in() {
        for size in [0, 1, SHORT - 1, SHORT, 1000, 100_000] {
            let value = vec![7_u8; size];
            let mut out = Payload::with_bodies();
            value.encode::<Postcard>(&mut out).unwrap();
            value.clone().hand_over(&mut out);
            let (bytes, bodies) = out.into_parts();
            let parcel = Parcel::new(Encoded::new(&bytes, bodies));
            assert_eq!(matches!(parcel, Parcel::Short(..)), size < SHORT);
            assert_eq!(parcel.open(|mut from| Vec::<u8>::decode::<Postcard>(&mut from)), Ok(value));
        }
    }
}
