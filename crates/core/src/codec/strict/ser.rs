//! The writing side: postcard's bytes with counts and marks, refusals by serde's own calls.

use serde::ser::{self, Serialize, Serializer as _};

use super::{DEPTH, FREE, Fault, Name, Payload, TOO_DEEP, mark, put_len};

type Result<T = (), E = Fault> = std::result::Result<T, E>;

/// Writes the whole value, or fails with part of it in `out`.
pub(super) fn write<T: Serialize>(value: &T, out: &mut Payload) -> Result {
    let mut writer = Writer { out, depth: DEPTH, free: FREE, broken: false };
    value.serialize(&mut writer)?;
    match writer.broken {
        false => Ok(()),
        true => Err(Fault::new("part of the value could not be written, and its `Serialize` ignored the error")),
    }
}

struct Writer<'o> {
    out: &'o mut Payload,
    /// Levels that are left.
    depth: u32,
    /// Elements without bytes that are left.
    free: usize,
    /// Something was refused; the value fails even if its `Serialize` says otherwise.
    broken: bool,
}

impl<'o> Writer<'o> {
    #[inline]
    fn wire(&mut self) -> postcard::Serializer<Append<'_>> {
        postcard::Serializer { output: Append(self.out.bytes_mut()) }
    }

    #[cold]
    fn refuse(&mut self, why: impl std::fmt::Display) -> Fault {
        self.broken = true;
        Fault::new(why)
    }

    #[inline]
    fn enter(&mut self) -> Result {
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => return Err(self.refuse(TOO_DEEP)),
        }
        Ok(())
    }

    #[inline]
    fn nested<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.enter()?;
        self.part(value)?;
        self.depth += 1;
        Ok(())
    }

    /// A part whose level is counted already.
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut *self).inspect_err(|_| self.broken = true)
    }

    #[inline]
    fn variant(&mut self, index: u32, variant: &str, content: bool) -> Result {
        self.serialize_u32(index)?;
        self.out.bytes_mut().extend_from_slice(&mark(variant, content));
        Ok(())
    }

    #[inline]
    fn parts(&mut self, left: usize, what: What) -> Result<Parts<'_, 'o>> {
        self.enter()?;
        let start = self.out.extent().bytes;
        Ok(Parts { writer: self, left, start, what })
    }

    /// Elements or entries, their number first.
    #[inline]
    fn list(&mut self, len: Option<usize>, parts_each: usize, unknown: &str) -> Result<Parts<'_, 'o>> {
        let Some(len) = len else { return Err(self.refuse(unknown)) };
        self.serialize_u64(len as u64)?;
        self.parts(len.saturating_mul(parts_each), What::List(len))
    }

    /// Fields, their number first.
    #[inline]
    fn fields(&mut self, name: Name, len: usize) -> Result<Parts<'_, 'o>> {
        self.serialize_u64(len as u64)?;
        self.parts(len, What::Fields(name))
    }
}

/// A value of which parts are still to come.
struct Parts<'w, 'o> {
    writer: &'w mut Writer<'o>,
    /// Parts announced and not yet written.
    left: usize,
    /// Where the first part began.
    start: usize,
    what: What,
}

enum What {
    List(usize),
    Tuple,
    Fields(Name),
}

impl Parts<'_, '_> {
    #[inline]
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(self.miscounted("more")),
        }
        self.writer.part(value)
    }

    #[inline]
    fn close(mut self) -> Result {
        if self.left > 0 {
            return Err(self.miscounted("fewer"));
        }
        self.writer.depth += 1;
        if let What::List(len) = self.what {
            let written = self.writer.out.extent().bytes - self.start;
            match self.writer.free.checked_sub(len.saturating_sub(written)) {
                Some(free) => self.writer.free = free,
                None => {
                    return Err(self.writer.refuse(format_args!(
                        "more than {FREE} elements that take no bytes, like `()`, cannot be carried: send their number"
                    )));
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn miscounted(&mut self, than: &str) -> Fault {
        let writer = &mut *self.writer;
        match self.what {
            What::Fields(name) => {
                writer.refuse(format_args!("{name} has {than} fields than its `Serialize` announced"))
            }
            What::List(len) => {
                writer.refuse(format_args!("a list of {len} has {than} elements than its `Serialize` announced"))
            }
            What::Tuple => writer.refuse(format_args!("a tuple has {than} elements than its `Serialize` announced")),
        }
    }
}

macro_rules! by_postcard {
    ($($method:ident($type:ty),)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result {
            self.wire().$method(value).map_err(Fault::new)
        }
    )*};
}

impl<'w, 'o> ser::Serializer for &'w mut Writer<'o> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Parts<'w, 'o>;
    type SerializeTuple = Parts<'w, 'o>;
    type SerializeTupleStruct = Parts<'w, 'o>;
    type SerializeTupleVariant = Parts<'w, 'o>;
    type SerializeMap = Parts<'w, 'o>;
    type SerializeStruct = Parts<'w, 'o>;
    type SerializeStructVariant = Parts<'w, 'o>;

    by_postcard! {
        serialize_bool(bool), serialize_char(char), serialize_f32(f32), serialize_f64(f64),
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_i128(i128),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_u128(u128),
        serialize_str(&str),
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result {
        if self.out.wants(bytes.len()) {
            put_len(bytes.len(), self.out.bytes_mut());
            self.out.push(bytes);
            return Ok(());
        }
        self.wire().serialize_bytes(bytes).map_err(Fault::new)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
    #[inline]
    fn serialize_unit(self) -> Result {
        Ok(())
    }
    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result {
        Ok(())
    }
    #[inline]
    fn serialize_none(self) -> Result {
        self.serialize_u8(0)
    }
    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        self.serialize_u8(1)?;
        self.nested(value)
    }
    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        self.nested(value)
    }
    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'w, 'o>> {
        self.list(len, 1, "sequences of unknown length cannot be carried: collect the elements in a `Vec` first")
    }
    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'w, 'o>> {
        self.list(
            len,
            2,
            "flattened fields and maps of unknown length cannot be carried: leave out `#[serde(flatten)]`, or collect the entries in a map first",
        )
    }
    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Parts<'w, 'o>> {
        self.parts(len, What::Tuple)
    }
    #[inline]
    fn serialize_tuple_struct(self, of: &'static str, len: usize) -> Result<Parts<'w, 'o>> {
        self.fields(Name { of, variant: None }, len)
    }
    #[inline]
    fn serialize_struct(self, of: &'static str, len: usize) -> Result<Parts<'w, 'o>> {
        self.fields(Name { of, variant: None }, len)
    }
    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, variant: &'static str) -> Result {
        self.variant(index, variant, false)
    }
    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.variant(index, variant, true)?;
        self.nested(value)
    }
    #[inline]
    fn serialize_tuple_variant(
        self,
        of: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'w, 'o>> {
        self.variant(index, variant, true)?;
        self.fields(Name { of, variant: Some(variant) }, len)
    }
    #[inline]
    fn serialize_struct_variant(
        self,
        of: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'w, 'o>> {
        self.serialize_tuple_variant(of, index, variant, len)
    }
}

macro_rules! unnamed_parts {
    ($($trait:ident :: $method:ident,)*) => {$(
        impl ser::$trait for Parts<'_, '_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                self.put(value)
            }
            #[inline]
            fn end(self) -> Result {
                self.close()
            }
        }
    )*};
}

unnamed_parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! named_parts {
    ($($trait:ident,)*) => {$(
        impl ser::$trait for Parts<'_, '_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result {
                self.put(value)
            }
            #[cold]
            fn skip_field(&mut self, key: &'static str) -> Result {
                Err(self.skipped(key))
            }
            #[inline]
            fn end(self) -> Result {
                self.close()
            }
        }
    )*};
}

named_parts! { SerializeStruct, SerializeStructVariant, }

impl Parts<'_, '_> {
    fn skipped(&mut self, key: &str) -> Fault {
        let What::Fields(name) = self.what else { unreachable!("only structs have fields to skip") };
        self.writer.refuse(format_args!(
            "field `{key}` of {name} was left out, and the reader could not know: remove its `skip_serializing_if`"
        ))
    }
}

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.put(key)
    }
    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.put(value)
    }
    #[inline]
    fn end(self) -> Result {
        self.close()
    }
}

/// Postcard's way into a borrowed vector; its own takes an owned one and loses it on an error.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        match bytes.len() {
            // Numbers: a call to copy memory would take longer than the copying.
            0..16 => self.0.extend(bytes.iter().copied()),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
