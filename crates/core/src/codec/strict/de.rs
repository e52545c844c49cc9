//! The reading side: believes no length, and compares counts and marks with what the reader expects.

use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

use super::{DEPTH, Encoded, FREE, Fault, Name, TOO_DEEP, mark};
use crate::blob;

type Result<T, E = Fault> = std::result::Result<T, E>;

/// Takes one value from the front of `from`.
pub(super) fn read<'de, T: Deserialize<'de>>(from: &mut Encoded<'de>) -> Result<T> {
    let mut reader = Reader { rest: from.bytes_mut(), from, depth: DEPTH, free: FREE, broken: false };
    let value = T::deserialize(&mut reader)?;
    match reader.broken {
        false => {
            *reader.from.bytes_mut() = reader.rest;
            Ok(value)
        }
        true => Err(Fault::new("part of the value could not be read, and its `Deserialize` ignored the error")),
    }
}

struct Reader<'r, 'de> {
    /// Its bytes, as far as they have not been read.
    rest: &'de [u8],
    /// Its bodies.
    from: &'r mut Encoded<'de>,
    /// Levels that are left.
    depth: u32,
    /// Elements without bytes that are left.
    free: usize,
    /// Something was refused and the place in `rest` is lost; later parts must not be believed.
    broken: bool,
}

impl<'de> Reader<'_, 'de> {
    /// A scalar, text or byte string, by postcard.
    #[inline]
    fn take<T: Deserialize<'de>>(&mut self) -> Result<T> {
        match postcard::take_from_bytes(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    #[cold]
    fn refuse(&mut self, why: impl std::fmt::Display) -> Fault {
        self.broken = true;
        Fault::new(why)
    }

    #[inline]
    fn nested<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => return Err(self.refuse(TOO_DEEP)),
        }
        let result = read(self);
        self.depth += 1;
        self.broken |= result.is_err();
        result
    }

    /// Elements or entries, their number first.
    #[inline]
    fn list<R>(&mut self, read: impl FnOnce(&mut Items<'_, '_, 'de>) -> Result<R>) -> Result<R> {
        self.nested(|reader| {
            let len: usize = reader.take()?;
            let there = reader.rest.len();
            // Elements may take no bytes, and then nothing else would end a loop over a false length.
            if len.saturating_sub(there) > reader.free {
                return Err(reader.refuse(format_args!("{len} elements announced, {there} bytes are there")));
            }
            let value = reader.items(len, None, read)?;
            let without_bytes = len.saturating_sub(there - reader.rest.len());
            match reader.free.checked_sub(without_bytes) {
                Some(free) => reader.free = free,
                None => return Err(reader.refuse(format_args!("more than {FREE} elements take no bytes"))),
            }
            Ok(value)
        })
    }

    /// Fields, their number first. `max` counts aliases too, so it is a bound and not the number.
    #[inline]
    fn fields<V: Visitor<'de>>(&mut self, name: Name, max: usize, visitor: V) -> Result<V::Value> {
        self.nested(|reader| {
            let written = reader.take()?;
            if written > max {
                return Err(reader.refuse(format_args!(
                    "{name} was written with {written} fields and is read with {max}: {ONE_SIDED}"
                )));
            }
            reader.items(written, Some(name), |items| visitor.visit_seq(items))
        })
    }

    /// Parts, of which none may be left unread.
    #[inline]
    fn items<R>(
        &mut self,
        len: usize,
        name: Option<Name>,
        read: impl FnOnce(&mut Items<'_, '_, 'de>) -> Result<R>,
    ) -> Result<R> {
        let mut items = Items { reader: self, left: len, len, name };
        let value = read(&mut items)?;
        match (items.left, name) {
            (0, _) => Ok(value),
            (left, Some(name)) => {
                let read = len - left;
                Err(self
                    .refuse(format_args!("{name} was written with {len} fields and is read with {read}: {ONE_SIDED}")))
            }
            (left, None) => Err(self.refuse(format_args!("{left} of {len} elements were left unread"))),
        }
    }
}

const ONE_SIDED: &str = "a field left out by one side alone cannot be carried, use `#[serde(skip)]` or none of `skip_serializing`, `skip_serializing_if`, `skip_deserializing`";

const SELF_DESCRIBING: &str = "a type that asks what comes next cannot be carried: \
    untagged, internally tagged and adjacently tagged enums, flattened fields, `serde_json::Value`; \
    leave out those attributes, or send the value as JSON text";

/// The parts of a value that are still to come.
struct Items<'r, 'f, 'de> {
    reader: &'r mut Reader<'f, 'de>,
    left: usize,
    len: usize,
    /// Of what these are fields. A reader that asks for more would fill in a default.
    name: Option<Name>,
}

impl Items<'_, '_, '_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        match (self.left.checked_sub(1), self.name) {
            (Some(left), _) => {
                self.left = left;
                Ok(true)
            }
            (None, None) => Ok(false),
            (None, Some(name)) => {
                let len = self.len;
                Err(self
                    .reader
                    .refuse(format_args!("{name} was written with {len} fields and is read with more: {ONE_SIDED}")))
            }
        }
    }

    /// What may be reserved for: an announced length may be a lie.
    #[inline]
    fn credible(&self) -> usize {
        self.left.min(self.reader.rest.len())
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        match self.advance()? {
            true => seed.deserialize(&mut *self.reader).map(Some),
            false => Ok(None),
        }
    }
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.credible())
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, '_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        de::SeqAccess::next_element_seed(self, seed)
    }
    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(&mut *self.reader)
    }
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.credible())
    }
}

macro_rules! by_postcard {
    ($($method:ident => $visit:ident($type:ty),)*) => {$(
        // Not with the visitor inside postcard: its errors drop the words of the visitor's.
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.take::<$type>()?)
        }
    )*};
}

macro_rules! refused {
    ($($method:ident,)*) => {$(
        #[cold]
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
            Err(self.refuse(SELF_DESCRIBING))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Reader<'_, 'de> {
    type Error = Fault;

    by_postcard! {
        deserialize_bool => visit_bool(bool),
        deserialize_i8 => visit_i8(i8), deserialize_i16 => visit_i16(i16), deserialize_i32 => visit_i32(i32),
        deserialize_i64 => visit_i64(i64), deserialize_i128 => visit_i128(i128),
        deserialize_u8 => visit_u8(u8), deserialize_u16 => visit_u16(u16), deserialize_u32 => visit_u32(u32),
        deserialize_u64 => visit_u64(u64), deserialize_u128 => visit_u128(u128),
        deserialize_f32 => visit_f32(f32), deserialize_f64 => visit_f64(f64),
        deserialize_str => visit_borrowed_str(&'de str), deserialize_string => visit_borrowed_str(&'de str),
    }

    refused! { deserialize_any, deserialize_ignored_any, deserialize_identifier, }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let before = self.rest;
        let len = self.take::<usize>()?;
        match self.from.body(len) {
            // Who wants a vector copies what others have too, and a blob takes it as it is.
            Ok(Some(body)) if body.is_held_elsewhere() => blob::show(&body, visitor),
            Ok(Some(body)) => visitor.visit_byte_buf(body.into_vec()),
            Ok(None) => {
                self.rest = before;
                visitor.visit_borrowed_bytes(self.take()?)
            }
            Err(fault) => Err(self.refuse(fault)),
        }
    }
    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }
    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        // Postcard would take the first of several.
        let mut chars = self.take::<&str>()?.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => visitor.visit_char(only),
            _ => Err(self.refuse("a text where one character should be")),
        }
    }
    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }
    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }
    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => self.nested(|reader| visitor.visit_some(reader)),
            n => Err(self.refuse(format_args!("{n} is not the mark of an optional value"))),
        }
    }
    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.nested(|reader| visitor.visit_newtype_struct(reader))
    }
    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.list(|items| visitor.visit_seq(items))
    }
    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.list(|items| visitor.visit_map(items))
    }
    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.nested(|reader| reader.items(len, None, |items| visitor.visit_seq(items)))
    }
    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(self, of: &'static str, len: usize, visitor: V) -> Result<V::Value> {
        self.fields(Name { of, variant: None }, len, visitor)
    }
    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        of: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.fields(Name { of, variant: None }, fields.len(), visitor)
    }
    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        of: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let variant = Variant::read(self, of, variants)?;
        let result = visitor.visit_enum(variant);
        self.broken |= result.is_err();
        result
    }
}

/// A variant whose content is still to come.
struct Variant<'r, 'f, 'de> {
    reader: &'r mut Reader<'f, 'de>,
    name: Name,
    index: u32,
    content: bool,
}

impl<'r, 'f, 'de> Variant<'r, 'f, 'de> {
    /// Reads index and mark and finds out whether the reader means the same variant by that index.
    #[inline]
    fn read(reader: &'r mut Reader<'f, 'de>, of: &'static str, variants: &'static [&'static str]) -> Result<Self> {
        let index: u32 = reader.take()?;
        let written: [u8; 2] = reader.take()?;
        let content = written[0] & 1 == 1;
        // The list has aliases too, each beside its variant, so that a name may stand behind its index.
        // In front of it stands one whose number was shifted by a skipped variant. An empty list, by
        // hand, says nothing.
        let later = variants.get(index as usize..).unwrap_or_default();
        let variant = later.iter().copied().find(|name| mark(name, content) == written);
        if variant.is_none() && !variants.is_empty() {
            return Err(reader.refuse(format_args!(
                "variant number {index} of `{of}` is not the one that was written: \
                 move variants with `skip` behind all others, and rename none for one side alone"
            )));
        }
        Ok(Self { reader, name: Name { of, variant }, index, content })
    }

    #[inline]
    fn expect(&mut self, content: bool) -> Result<()> {
        if self.content == content {
            return Ok(());
        }
        let name = self.name;
        Err(self.reader.refuse(match content {
            true => format!("{name} was written without content and is read with: {ONE_SIDED}"),
            false => format!("{name} was written with content and is read without: {ONE_SIDED}"),
        }))
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, '_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        Ok((seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(self.index))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(mut self) -> Result<()> {
        self.expect(false)
    }
    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value> {
        self.expect(true)?;
        self.reader.nested(|reader| seed.deserialize(reader))
    }
    #[inline]
    fn tuple_variant<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value> {
        self.expect(true)?;
        self.reader.fields(self.name, len, visitor)
    }
    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.tuple_variant(fields.len(), visitor)
    }
}
