//! Types that take a road of their own past serde, chosen by type identity.
//!
//! serde refuses paths that are not UTF-8, handles `Vec<u8>` byte by byte, and copies texts. As direct arguments
//! and results these types are common enough to deserve better: long bytes and texts become bodies by moving them; nested in other types they go
//! through serde like everything else (there, use `serde_bytes` and [`OsString`]).

use std::{
    any::Any,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, CodecFault, Encoded, LONG, Payload};
use crate::panic;

pub(super) fn encode<T: Serialize + 'static, C: Codec>(value: &T, payload: &mut Payload) -> Result<(), CodecFault> {
    let any = value as &dyn Any;
    if let Some(bytes) = any.downcast_ref::<Vec<u8>>() {
        put_or_owe(bytes, payload);
        return Ok(());
    }
    if let Some(text) = any.downcast_ref::<String>() {
        put_or_owe(text.as_bytes(), payload);
        return Ok(());
    }
    let out = payload.bytes_mut();
    if let Some(path) = any.downcast_ref::<PathBuf>() {
        put(path.as_os_str().as_bytes(), out);
    } else if let Some(text) = any.downcast_ref::<OsString>() {
        put(text.as_bytes(), out);
    } else if let Some(path) = any.downcast_ref::<Option<PathBuf>>() {
        put_len(usize::from(path.is_some()), out);
        path.iter().for_each(|path| put(path.as_os_str().as_bytes(), out));
    } else if let Some(paths) = any.downcast_ref::<Vec<PathBuf>>() {
        put_len(paths.len(), out);
        paths.iter().for_each(|path| put(path.as_os_str().as_bytes(), out));
    } else {
        C::encode(value, payload)?;
    }
    Ok(())
}

/// Moves what [`encode`] owes, and drops the rest.
pub(super) fn hand_over<T: 'static>(value: T, out: &mut Payload) {
    let mut slot = Some(value);
    let any = &mut slot as &mut dyn Any;
    let bytes = if let Some(slot) = any.downcast_mut::<Option<Vec<u8>>>() {
        slot.take()
    } else if let Some(slot) = any.downcast_mut::<Option<String>>() {
        slot.take().map(String::into_bytes)
    } else {
        // Whatever its drop does, the values behind it have bodies too.
        panic::dispose(slot.take());
        None
    };
    if let Some(bytes) = bytes.filter(|bytes| bytes.len() >= LONG) {
        out.pay(bytes);
    }
}

pub(super) fn decode<T: DeserializeOwned + 'static, C: Codec>(from: &mut Encoded<'_>) -> Result<T, CodecFault> {
    let mut slot: Option<T> = None;
    let any = &mut slot as &mut dyn Any;
    if let Some(slot) = any.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(take_owned(from)?);
    } else if let Some(slot) = any.downcast_mut::<Option<String>>() {
        *slot = Some(String::from_utf8(take_owned(from)?).map_err(CodecFault::new)?);
    } else if let Some(slot) = any.downcast_mut::<Option<PathBuf>>() {
        *slot = Some(take_path(from.bytes_mut())?);
    } else if let Some(slot) = any.downcast_mut::<Option<OsString>>() {
        *slot = Some(OsString::from_vec(take(from.bytes_mut())?.to_vec()));
    } else if let Some(slot) = any.downcast_mut::<Option<Option<PathBuf>>>() {
        let bytes = from.bytes_mut();
        *slot = Some(match take_len(bytes)? {
            0 => None,
            1 => Some(take_path(bytes)?),
            n => return Err(CodecFault::new(format_args!("{n} is not the mark of an optional path"))),
        });
    } else if let Some(slot) = any.downcast_mut::<Option<Vec<PathBuf>>>() {
        let bytes = from.bytes_mut();
        let (n, there) = (take_len(bytes)?, bytes.len());
        // Each path takes a byte at least; the length may be a lie.
        if n > there {
            return Err(CodecFault::new(format_args!("{n} paths announced, {there} bytes are there")));
        }
        *slot = Some((0..n).map(|_| take_path(bytes)).collect::<Result<_, _>>()?);
    } else {
        return C::decode(from);
    }
    slot.ok_or_else(|| CodecFault::new("nothing was read"))
}

fn put_or_owe(bytes: &[u8], payload: &mut Payload) {
    if payload.wants(bytes.len()) {
        put_len(bytes.len(), payload.bytes_mut());
        payload.push_own(bytes);
    } else {
        put(bytes, payload.bytes_mut());
    }
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Lengths as little-endian base-128, as postcard has them.
pub(super) fn put_len(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_path(bytes: &mut &[u8]) -> Result<PathBuf, CodecFault> {
    Ok(OsString::from_vec(take(bytes)?.to_vec()).into())
}

/// Bytes that are moved if they are a body.
fn take_owned(from: &mut Encoded<'_>) -> Result<Vec<u8>, CodecFault> {
    let n = take_len(from.bytes_mut())?;
    match from.body(n)? {
        Some(body) => Ok(body.into_vec()),
        None => take_some(n, from.bytes_mut()).map(<[u8]>::to_vec),
    }
}

fn take<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], CodecFault> {
    let n = take_len(bytes)?;
    take_some(n, bytes)
}

fn take_some<'b>(n: usize, bytes: &mut &'b [u8]) -> Result<&'b [u8], CodecFault> {
    bytes.split_off(..n).ok_or_else(|| CodecFault::new(format_args!("{n} bytes announced, {} are there", bytes.len())))
}

fn take_len(bytes: &mut &[u8]) -> Result<usize, CodecFault> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first().ok_or_else(|| CodecFault::new("the bytes end inside a length"))?;
        // The tenth byte has room for one bit.
        if shift == 63 && byte > 1 {
            break;
        }
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(n).map_err(CodecFault::new);
        }
    }
    Err(CodecFault::new("a length of more than 64 bits"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::super::{Data, Postcard};
    use super::*;

    fn written<T: Data>(value: &T) -> Result<Vec<u8>, CodecFault> {
        let mut out = Payload::new();
        value.encode::<Postcard>(&mut out)?;
        Ok(out.into_parts().0)
    }

    fn read<T: Data>(bytes: &[u8]) -> Result<T, CodecFault> {
        let mut from = Encoded::from(bytes);
        let value = T::decode::<Postcard>(&mut from)?;
        assert!(from.is_empty(), "{from:?} left over");
        Ok(value)
    }

    #[track_caller]
    fn returns<T: Data + PartialEq + Debug>(value: T) -> Vec<u8> {
        let bytes = written(&value).expect("writable");
        assert_eq!(read::<T>(&bytes).expect("readable"), value);
        for cut in 0..bytes.len().min(300) {
            read::<T>(&bytes[..cut]).expect_err("a part is no value");
        }
        bytes
    }

    fn not_utf8() -> OsString {
        OsString::from_vec(b"caf\xe9/\xff\xfe".to_vec())
    }

    #[test]
    fn paths_and_os_strings_that_are_not_utf8_return() {
        assert!(not_utf8().to_str().is_none());
        returns(PathBuf::from(not_utf8()));
        returns(not_utf8());
        returns(PathBuf::new());
        returns(OsString::from("ä"));
    }

    #[test]
    fn optional_paths_return() {
        assert_eq!(returns(None::<PathBuf>), [0]);
        assert_eq!(returns(Some(PathBuf::new())), [1, 0]);
        returns(Some(PathBuf::from(not_utf8())));
    }

    #[test]
    fn lists_of_paths_return() {
        assert_eq!(returns(Vec::<PathBuf>::new()), [0]);
        returns(vec![PathBuf::from(not_utf8()), PathBuf::new(), PathBuf::from("/a")]);
        returns(vec![PathBuf::from(not_utf8()); 1000]);
    }

    #[test]
    fn bytes_return_and_look_as_postcard_has_them() {
        for n in [0, 1, 127, 128, 16_383, 16_384, 1_000_000] {
            let value: Vec<u8> = (0..n).map(|i| i as u8).collect();
            assert_eq!(returns(value.clone()), postcard::to_allocvec(&value).unwrap());
        }
    }

    #[test]
    fn other_types_go_through_the_codec() {
        assert_eq!(returns((1_u8, Some(2_u8))), [1, 1, 2]);
        returns(vec!["text".to_owned()]);
        returns((not_utf8(), vec![1_u8, 2]));
        let nested = (PathBuf::from(not_utf8()),);
        let fault = written(&nested).expect_err("serde has only UTF-8 paths");
        assert!(fault.to_string().contains("UTF-8"), "{fault}");
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        fn refused<T: Data>(bytes: &[u8]) -> String {
            read::<T>(bytes).err().expect("must not be read").to_string()
        }
        // 2^40, and the largest 64-bit number.
        for mut bytes in [vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x20], [&[0xff; 9][..], &[1]].concat()] {
            bytes.extend([0; 20]);
            assert!(refused::<Vec<u8>>(&bytes).contains("20 are there"));
            assert!(refused::<PathBuf>(&bytes).contains("20 are there"));
            assert!(refused::<OsString>(&bytes).contains("20 are there"));
            assert!(refused::<Vec<PathBuf>>(&bytes).contains("20 bytes are there"));
            assert!(refused::<Option<PathBuf>>(&bytes).contains("not the mark of an optional path"));
        }
        assert!(refused::<Vec<u8>>(&[&[0xff; 9][..], &[2]].concat()).contains("more than 64 bits"));
        assert!(refused::<Vec<u8>>(&[0x80; 20]).contains("more than 64 bits"));
        assert!(refused::<Vec<u8>>(&[0x80]).contains("end inside a length"));
    }
}
