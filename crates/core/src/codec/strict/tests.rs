//! What is carried comes back bit for bit; what is not is refused by one test each; bytes are not trusted.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt::Debug,
    net::IpAddr,
    num::NonZeroU8,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};

use super::{DEPTH, FREE, Payload, append as encode, split as decode};

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out).expect("writable");
    out
}

#[track_caller]
fn returns<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = written(&value);
    let mut rest = &bytes[..];
    assert_eq!(decode::<T>(&mut rest).expect("readable"), value);
    assert!(rest.is_empty(), "{rest:?} left over");
}

/// The message of a refusal to write, which must leave what was there before.
#[track_caller]
fn unwritable<T: Serialize>(value: &T) -> String {
    let mut out = b"before".to_vec();
    let fault = encode(value, &mut out).expect_err("must not be written");
    assert_eq!(out, b"before");
    fault.to_string()
}

/// The message of a refusal to read, which must leave the bytes.
#[track_caller]
fn unreadable<T: DeserializeOwned>(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let Err(fault) = decode::<T>(&mut rest) else { panic!("{bytes:?} must not be read") };
    assert_eq!(rest, bytes);
    fault.to_string()
}

/// The message of a refusal to read what could be written.
#[track_caller]
fn one_way<T: Serialize + DeserializeOwned>(value: &T) -> String {
    unreadable::<T>(&written(value))
}

#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

/// Little-endian base-128, as announced lengths are.
fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// Bytes in one piece, as the crate `serde_bytes` has them.
mod blob {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        d.deserialize_byte_buf(Whole)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Blob(#[serde(with = "blob")] Vec<u8>);

// Carried.

#[test]
fn scalars_keep_every_bit() {
    returns((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN));
    returns((i8::MAX, i16::MAX, i32::MAX, i64::MAX, i128::MAX));
    returns((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX));
    returns((isize::MIN, usize::MAX, -1_i128, 0_u128, true, false, ()));
    for c in ['\0', 'a', 'é', '€', '\u{10FFFF}'] {
        returns(c);
    }
}

#[test]
fn floats_keep_every_bit() {
    for bits in
        [0, 1, 1 << 63, 0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0001, 0x7ff4_dead_beef_0001, 0xfff8_0000_0000_0000]
    {
        let bytes = written(&f64::from_bits(bits));
        assert_eq!(decode::<f64>(&mut &bytes[..]).unwrap().to_bits(), bits);
    }
    for bits in [0, 1, 1 << 31, 0x7f80_0000, 0x7fc0_0001, 0xffc0_dead] {
        let bytes = written(&f32::from_bits(bits));
        assert_eq!(decode::<f32>(&mut &bytes[..]).unwrap().to_bits(), bits);
    }
}

#[test]
fn texts_and_byte_strings_are_carried() {
    returns(String::new());
    returns("Grüße, 世界 🦀\0".repeat(100));
    returns(Cow::<'static, str>::Owned("borrowed when written".to_owned()));
    returns(Blob((0..=255).collect::<Vec<u8>>()));
    let bytes = written(&"borrowed");
    assert_eq!(decode::<String>(&mut &bytes[..]).unwrap(), "borrowed");
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u64);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tuple(u8, String);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: Option<Newtype>,
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    One(Point),
    Two(u8, Tuple),
    Named { inner: Box<Inner>, unit: Unit },
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Inner {
    A,
    B(Result<u8, String>),
    C { more: Vec<Shape> },
}

#[test]
fn structs_tuples_and_nested_enums_are_carried() {
    returns((Unit, Newtype(7), Tuple(1, "t".into()), ((), (1_u8, [2_u16; 3])), [Unit, Unit]));
    returns(Shape::Empty);
    returns(Shape::One(Point { x: -5, y: Some(Newtype(u64::MAX)) }));
    returns(Shape::Two(9, Tuple(0, String::new())));
    for inner in [Inner::A, Inner::B(Ok(1)), Inner::B(Err("no".into()))] {
        let more = vec![Shape::Named { inner: Box::new(inner), unit: Unit }, Shape::Empty];
        returns(Shape::Named { inner: Box::new(Inner::C { more }), unit: Unit });
    }
}

#[test]
fn options_within_options_stay_apart() {
    for value in [None, Some(None), Some(Some(()))] {
        returns(value);
    }
    returns(vec![Some(None), Some(Some(Some(3_u8))), None, Some(Some(None))]);
}

#[test]
fn types_of_std_are_carried() {
    returns((Duration::new(u64::MAX, 999_999_999), SystemTime::UNIX_EPOCH + Duration::new(1, 2)));
    returns(Range { start: -1_i8, end: 4 });
    returns(["::1".parse::<IpAddr>().unwrap(), "127.0.0.1".parse().unwrap()]);
    returns((NonZeroU8::MAX, std::path::PathBuf::from("a/b"), std::ops::Bound::Excluded(1_u8)));
}

#[test]
fn collections_are_carried() {
    returns(HashMap::from([("a".to_owned(), vec![1_u8]), ("b".to_owned(), vec![])]));
    returns(BTreeMap::from([(1_u8, BTreeMap::from([((), 'x')])), (2, BTreeMap::new())]));
    returns(HashSet::from([1_u64, u64::MAX]));
    returns(VecDeque::from([1.5_f64, -0.0]));
    returns(Vec::<String>::new());
}

#[test]
fn elements_without_bytes_are_carried_up_to_a_bound() {
    for n in [0, 1, 1000, FREE] {
        returns(vec![(); n]);
    }
    returns(vec![vec![(); 10]; 100]);
    returns(HashMap::from([((), ())]));
    returns((vec![(); FREE / 2], vec![(); FREE / 2]));
    says(&unwritable(&vec![(); FREE + 1]), &["elements that take no bytes"]);
    says(&unwritable(&(vec![(); FREE / 2], vec![(); FREE / 2 + 1])), &["elements that take no bytes"]);
}

#[test]
fn attributes_that_both_sides_know_are_fine() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Much {
        #[serde(skip)]
        cache: Option<u8>,
        #[serde(default, alias = "b", alias = "a")]
        with_default: u8,
        #[serde(rename = "type")]
        kind: Vec<u8>,
        #[serde(with = "blob")]
        bytes: Vec<u8>,
    }
    returns(Much { cache: None, with_default: 3, kind: vec![1], bytes: vec![2; 9] });

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Skipping(u8, #[serde(skip)] u8, String);
    returns(Skipping(1, 0, "after".into()));

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Transparent(Vec<u8>);
    returns(Transparent(vec![1, 2]));

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(try_from = "u8", into = "u8")]
    struct Even(u8);
    impl TryFrom<u8> for Even {
        type Error = String;
        fn try_from(n: u8) -> Result<Self, String> {
            n.is_multiple_of(2).then_some(Self(n)).ok_or_else(|| format!("{n} is odd"))
        }
    }
    impl From<Even> for u8 {
        fn from(even: Even) -> u8 {
            even.0
        }
    }
    returns(Even(4));
    // The words of the type's own error arrive.
    assert_eq!(unreadable::<Even>(&[5]), "5 is odd");
}

#[test]
fn attributes_of_variants_that_both_sides_know_are_fine() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Much {
        #[serde(alias = "Z", alias = "An", alias = "First")]
        A,
        #[serde(rename = "bee")]
        B(#[serde(skip)] u8),
        #[serde(alias = "Aaa")]
        C(u8, #[serde(skip)] u8),
        D {
            #[serde(skip)]
            cache: u8,
            #[serde(alias = "k")]
            kept: u8,
        },
        #[serde(skip)]
        #[allow(dead_code, reason = "the case is a skipped variant behind all others")]
        Last,
    }
    for value in [Much::A, Much::B(0), Much::C(1, 0), Much::D { cache: 0, kept: 4 }] {
        returns(value);
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Open {
        Known,
        #[serde(other)]
        Other,
    }
    returns([Open::Known, Open::Other]);
    says(&unreadable::<Open>(&[2, 0, 0]), &["variant number 2", "`Open`"]);
}

#[test]
fn both_sides_say_that_the_format_is_not_for_humans() {
    #[derive(Debug, PartialEq)]
    struct Asks;
    impl Serialize for Asks {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.is_human_readable().serialize(s)
        }
    }
    impl<'de> Deserialize<'de> for Asks {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            let here = d.is_human_readable();
            assert!(!here && !bool::deserialize(d)?);
            Ok(Asks)
        }
    }
    returns(Asks);
}

#[test]
fn what_lies_behind_the_value_is_the_callers() {
    let mut out = b"front".to_vec();
    encode(&"first", &mut out).unwrap();
    encode(&(2_u8, 3_u16), &mut out).unwrap();
    out.extend(b"tail");
    let mut rest = out.strip_prefix(b"front").unwrap();
    assert_eq!(decode::<String>(&mut rest).unwrap(), "first");
    assert_eq!(decode::<(u8, u16)>(&mut rest).unwrap(), (2, 3));
    assert_eq!(rest, b"tail");
}

#[test]
fn plain_values_look_as_postcard_has_them() {
    let value = (300_u16, "text", [Some(1_i64), None], BTreeMap::from([('k', 1.5_f32)]), Newtype(5));
    assert_eq!(written(&value), postcard::to_allocvec(&value).unwrap());
    // One byte a struct, two a variant.
    assert_eq!(written(&Point { x: 1, y: None }), [2, 2, 0]);
    assert_eq!(written(&Inner::A).len(), 3);
}

// Refused: left-out fields.

#[test]
fn a_field_skipped_for_its_value_is_refused_by_name() {
    #[derive(Serialize)]
    struct Sparse {
        first: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
    }
    says(&unwritable(&Sparse { first: 1, maybe: None }), &["`maybe`", "`Sparse`", "skip_serializing_if"]);
    assert_eq!(written(&Sparse { first: 1, maybe: Some(2) }), [2, 1, 1, 2]);

    #[derive(Serialize)]
    enum Choice {
        Sparse {
            #[serde(skip_serializing_if = "Option::is_none")]
            maybe: Option<u8>,
        },
    }
    says(&unwritable(&Choice::Sparse { maybe: None }), &["`maybe`", "`Choice::Sparse`"]);
}

#[test]
fn a_tuple_field_skipped_for_its_value_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Sparse(u8, #[serde(skip_serializing_if = "Option::is_none", default)] Option<u8>);
    says(&one_way(&Sparse(1, None)), &["`Sparse`", "skip_serializing_if"]);

    #[derive(Serialize, Deserialize)]
    enum Choice {
        Sparse(u8, #[serde(skip_serializing_if = "Option::is_none", default)] Option<u8>),
    }
    says(&one_way(&Choice::Sparse(1, None)), &["`Choice::Sparse`"]);
}

#[test]
fn a_field_that_is_never_written_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Account {
        user: u8,
        #[serde(skip_serializing, default)]
        password: u8,
        left: u8,
    }
    // The bytes suffice: plain postcard takes 3 for the password and 4 for what is left.
    let account = Account { user: 3, password: 1, left: 3 };
    let altered = Account { user: 3, password: 3, left: 4 };
    assert_eq!(
        postcard::from_bytes::<Account>(&[postcard::to_allocvec(&account).unwrap(), vec![4]].concat()).unwrap(),
        altered
    );
    let bytes = [written(&account), vec![4]].concat();
    says(&unreadable::<Account>(&bytes), &["`Account`", "2 fields", "more", "skip_serializing"]);

    #[derive(Serialize, Deserialize)]
    enum Choice {
        Account {
            user: u8,
            #[serde(skip_serializing, default)]
            password: u8,
        },
        Pair(u8, #[serde(skip_serializing, default)] u8),
        Single(#[serde(skip_serializing, default)] u8),
    }
    says(&one_way(&Choice::Account { user: 3, password: 1 }), &["`Choice::Account`", "more"]);
    says(&one_way(&Choice::Pair(3, 1)), &["`Choice::Pair`", "more"]);
    says(&one_way(&Choice::Single(1)), &["`Choice::Single`", "without content"]);

    #[derive(Serialize, Deserialize)]
    struct Pair(u8, #[serde(skip_serializing, default)] Unit);
    says(&one_way(&Pair(3, Unit)), &["`Pair`", "more"]);
}

#[test]
fn a_field_that_is_never_read_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Account {
        user: u8,
        #[serde(skip_deserializing)]
        password: u8,
    }
    says(&one_way(&Account { user: 3, password: 1 }), &["`Account`", "2 fields", "read with 1"]);

    #[derive(Serialize, Deserialize)]
    struct Aliased {
        // Makes the reader's list of names as long as the writer's.
        #[serde(alias = "name")]
        user: u8,
        #[serde(skip_deserializing)]
        password: u8,
    }
    says(&one_way(&Aliased { user: 3, password: 1 }), &["`Aliased`", "2 fields", "read with 1"]);

    #[derive(Serialize, Deserialize)]
    enum Choice {
        Single(#[serde(skip_deserializing)] u8),
    }
    says(&one_way(&Choice::Single(1)), &["`Choice::Single`", "with content"]);
}

#[test]
fn variants_numbered_differently_by_the_two_sides_are_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Gap {
        A,
        #[serde(skip)]
        #[allow(dead_code, reason = "the case is a variant that is never made")]
        B,
        C,
        D,
    }
    returns(Gap::A);
    // Plain postcard: written as the third, and D is the third that is read.
    assert_eq!(postcard::from_bytes::<Gap>(&postcard::to_allocvec(&Gap::C).unwrap()).unwrap(), Gap::D);
    says(&one_way(&Gap::C), &["variant number 2", "`Gap`", "skip"]);
    says(&one_way(&Gap::D), &["variant number 3", "`Gap`", "skip"]);

    #[derive(Serialize, Deserialize)]
    enum Renamed {
        #[serde(rename(serialize = "a"))]
        A,
    }
    says(&one_way(&Renamed::A), &["variant number 0", "`Renamed`", "rename"]);
}

#[test]
fn a_variant_that_cannot_be_written_says_so() {
    #[derive(Serialize)]
    enum Choice {
        #[serde(skip)]
        Never,
    }
    says(&unwritable(&Choice::Never), &["Choice::Never"]);
}

// Refused: what needs a format with names.

#[test]
fn flattened_fields_are_refused_when_written() {
    #[derive(Serialize)]
    struct Flat {
        #[serde(flatten)]
        point: Point,
    }
    says(&unwritable(&Flat { point: Point { x: 1, y: None } }), &["flattened fields", "cannot be carried"]);
}

#[test]
fn maps_and_sequences_of_unknown_length_are_refused_when_written() {
    struct Map;
    impl Serialize for Map {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.serialize_map(None)?.end()
        }
    }
    struct Seq;
    impl Serialize for Seq {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.collect_seq((0..9_u8).filter(|n| n % 2 == 0))
        }
    }
    says(&unwritable(&Map), &["maps of unknown length cannot be carried"]);
    says(&unwritable(&Seq), &["sequences of unknown length cannot be carried", "Vec"]);
}

#[test]
fn announced_lengths_that_turn_out_wrong_are_refused_when_written() {
    struct Seq(usize);
    impl Serialize for Seq {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            let mut seq = s.serialize_seq(Some(2))?;
            (0..self.0).try_for_each(|n| seq.serialize_element(&n))?;
            seq.end()
        }
    }
    assert_eq!(written(&Seq(2)), [2, 0, 1]);
    says(&unwritable(&Seq(1)), &["list of 2", "fewer"]);
    says(&unwritable(&Seq(3)), &["list of 2", "more"]);

    struct Map;
    impl Serialize for Map {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            let mut map = s.serialize_map(Some(1))?;
            map.serialize_key(&1)?;
            map.end()
        }
    }
    says(&unwritable(&Map), &["list of 1", "fewer"]);

    struct Fields;
    impl Serialize for Fields {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.serialize_struct("Fields", 1)?.end()
        }
    }
    says(&unwritable(&Fields), &["`Fields`", "fewer"]);
}

#[test]
fn types_that_ask_what_comes_next_are_refused_when_read() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        A(u8),
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Internal {
        A { a: u8 },
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind", content = "content")]
    enum Adjacent {
        A(u8),
    }
    const WORDS: &[&str] = &["asks what comes next", "untagged", "internally tagged", "serde_json::Value"];
    says(&one_way(&Untagged::A(1)), WORDS);
    says(&one_way(&Internal::A { a: 1 }), WORDS);
    says(&one_way(&Adjacent::A(1)), WORDS);
    says(&one_way(&serde_json::json!({"a": [1, null]})), WORDS);
    says(&unreadable::<IgnoredAny>(&[0]), WORDS);

    // The reading half of a flattened struct alone.
    #[derive(Deserialize)]
    struct Flat {
        #[serde(flatten)]
        _all: BTreeMap<String, u8>,
    }
    says(&unreadable::<Flat>(&[1, 1, b'a', 1]), WORDS);
}

// Refused: types that do not do what serde asks of them.

#[test]
fn elements_left_unread_are_refused() {
    struct Two;
    impl<'de> Deserialize<'de> for Two {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct First2;
            impl<'de> Visitor<'de> for First2 {
                type Value = Two;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("two numbers")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Two, A::Error> {
                    let _: (Option<u8>, Option<u8>) = (seq.next_element()?, seq.next_element()?);
                    Ok(Two)
                }
            }
            d.deserialize_seq(First2)
        }
    }
    assert!(decode::<Two>(&mut &[2, 0, 0][..]).is_ok());
    says(&unreadable::<Two>(&[3, 0, 0, 0]), &["1 of 3 elements"]);
}

#[test]
fn an_error_that_a_type_ignores_is_still_one() {
    #[derive(Debug)]
    struct OrEmpty(Vec<NonZeroU8>);
    impl<'de> Deserialize<'de> for OrEmpty {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            Ok(Self(Vec::deserialize(d).unwrap_or_default()))
        }
    }
    assert_eq!(decode::<OrEmpty>(&mut &[1, 5][..]).unwrap().0.len(), 1);
    says(&unreadable::<(OrEmpty, u8)>(&[2, 0, 5, 5]), &["ignored the error"]);

    struct Careless;
    impl Serialize for Careless {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            struct Fails;
            impl Serialize for Fails {
                fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                    Err(serde::ser::Error::custom("no"))
                }
            }
            let mut seq = s.serialize_seq(Some(1))?;
            let _ignored = seq.serialize_element(&Fails);
            seq.end()
        }
    }
    says(&unwritable(&Careless), &["ignored the error"]);
}

#[test]
fn a_panic_while_writing_leaves_what_was_there() {
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("in serialize")
        }
    }
    let mut out = Payload::from(b"before".to_vec());
    assert!(catch_unwind(AssertUnwindSafe(|| super::encode(&("part", Panics), &mut out))).is_err());
    assert_eq!(out.into_parts().0, b"before");
}

// Refused: too deep.

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Deep {
    End,
    Down(Box<Deep>),
}

fn deep(levels: u32) -> Deep {
    (0..levels).fold(Deep::End, |deep, _| Deep::Down(Box::new(deep)))
}

#[test]
fn nesting_is_carried_up_to_a_bound_on_both_sides() {
    returns(deep(DEPTH));
    says(&unwritable(&deep(DEPTH + 1)), &["128 levels", "send it flat"]);
    // What a writer without bound would have written.
    let level = &written(&deep(1))[..3];
    let bytes = [level.repeat(DEPTH as usize + 1), written(&Deep::End)].concat();
    says(&unreadable::<Deep>(&bytes), &["128 levels"]);
    says(&unreadable::<Deep>(&level.repeat(1_000_000)), &["128 levels"]);
}

#[test]
fn every_kind_of_part_counts_as_a_level_alike_on_both_sides() {
    /// Its only loop is through an option.
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct ThroughOption {
        next: Option<Box<ThroughOption>>,
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct All {
        newtype: (Vec<BTreeMap<u8, Wrap>>,),
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Wrap(Box<All>);

    // struct, tuple, sequence, map, newtype
    let all =
        |n| (0..n).fold(All::default(), |all, _| All { newtype: (vec![BTreeMap::from([(1, Wrap(Box::new(all)))])],) });
    let option = |n| (0..n).fold(ThroughOption::default(), |inner, _| ThroughOption { next: Some(Box::new(inner)) });
    // The innermost has struct, tuple and an empty sequence.
    returns(all((DEPTH - 3) / 5));
    says(&unwritable(&all((DEPTH - 3) / 5 + 1)), &["128 levels"]);
    returns(option(DEPTH));
    says(&unwritable(&option(DEPTH + 1)), &["128 levels"]);
    says(&unreadable::<ThroughOption>(&[1; 1_000_000]), &["128 levels"]);
    says(&unreadable::<All>(&[1; 1_000_000]), &["128 levels"]);
}

// Bytes that nobody wrote.

#[test]
fn announced_lengths_are_not_believed() {
    for len in [1 << 24, 1 << 40, 1 << 60, u64::MAX] {
        let bytes = [varint(len), vec![1; 64]].concat();
        says(&unreadable::<Vec<u64>>(&bytes), &["elements announced", "64 bytes are there"]);
        says(&unreadable::<BTreeMap<u8, u8>>(&bytes), &["elements announced"]);
        unreadable::<String>(&bytes);
        unreadable::<Blob>(&bytes);
        says(&unreadable::<Point>(&bytes), &["`Point`", "was written with"]);
    }
    says(&unreadable::<Vec<()>>(&varint(1 << 24)), &["elements announced"]);
    says(&unreadable::<HashMap<(), ()>>(&varint(1 << 24)), &["elements announced"]);
    unreadable::<Vec<u8>>(&[0xff; 11]);
    says(&unreadable::<String>(&varint(FREE as u64)), &["Hit the end of buffer"]);
}

#[test]
fn nothing_is_reserved_beyond_the_bytes_that_are_there() {
    thread_local!(static HINT: Cell<usize> = const { Cell::new(0) });
    struct Hint;
    impl<'de> Deserialize<'de> for Hint {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct Asks;
            impl<'de> Visitor<'de> for Asks {
                type Value = Hint;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Hint, A::Error> {
                    HINT.set(seq.size_hint().unwrap_or_default());
                    Ok(Hint)
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Hint, A::Error> {
                    HINT.set(map.size_hint().unwrap_or_default());
                    Ok(Hint)
                }
            }
            match BOTH.get() {
                true => d.deserialize_map(Asks),
                false => d.deserialize_seq(Asks),
            }
        }
    }
    thread_local!(static BOTH: Cell<bool> = const { Cell::new(false) });
    for map in [false, true] {
        BOTH.set(map);
        unreadable::<Hint>(&[varint(1_000_000), vec![0; 10]].concat());
        assert_eq!(HINT.get(), 10);
        unreadable::<Hint>(&[varint(7), vec![0; 10]].concat());
        assert_eq!(HINT.get(), 7);
    }
}

#[test]
fn elements_without_bytes_do_not_spin() {
    const MOST: usize = 4 * FREE;
    thread_local!(static READ: Cell<usize> = const { Cell::new(0) });
    struct Counted;
    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            READ.set(READ.get() + 1);
            assert!(READ.get() <= MOST, "still reading");
            Ok(Self)
        }
    }
    unreadable::<Vec<Counted>>(&varint(1 << 60));
    assert_eq!(READ.get(), 0);
    // Each inner list announces as much as lies behind it: squared, were it not for the whole message's bound.
    let inner = varint(1 << 20);
    let bytes = [varint(400_000), inner.repeat(400_000)].concat();
    assert!(bytes.len() + 2 * FREE <= MOST);
    says(&unreadable::<Vec<Vec<Counted>>>(&bytes), &["take no bytes"]);
}

#[test]
fn a_type_that_reads_all_fields_there_are_is_not_given_more_than_it_named() {
    struct Greedy;
    impl<'de> Deserialize<'de> for Greedy {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> Visitor<'de> for All {
                type Value = Greedy;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("fields")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Greedy, A::Error> {
                    for _ in 0..seq.size_hint().unwrap_or_default() {
                        seq.next_element::<u8>()?;
                    }
                    Ok(Greedy)
                }
            }
            d.deserialize_struct("Greedy", &["a", "b"], All)
        }
    }
    assert!(decode::<Greedy>(&mut &[2, 0, 0][..]).is_ok());
    says(&unreadable::<Greedy>(&[3, 0, 0, 0]), &["`Greedy`", "3 fields", "read with 2"]);
}

#[test]
fn marks_and_texts_that_nobody_writes_are_refused() {
    says(&unreadable::<bool>(&[2]), &["bool"]);
    says(&unreadable::<Option<u8>>(&[2, 1]), &["2 is not the mark of an optional value"]);
    says(&unreadable::<String>(&[2, 0xc3, 0x28]), &["utf-8"]);
    unreadable::<char>(&[1, 0xff]);
    unreadable::<char>(&[0]);
    says(&unreadable::<char>(&[2, b'a', b'b']), &["one character"]);
    says(&unreadable::<Deep>(&[9, 0, 0]), &["variant number 9", "`Deep`"]);
    says(&unreadable::<Deep>(&[0, 0, 0]), &["variant number 0", "`Deep`"]);
    unreadable::<u16>(&[0xff, 0xff, 0x7f]);
    says(&unreadable::<NonZeroU8>(&[0]), &["nonzero"]);
    unreadable::<u64>(&[]);
}

// Many values.

/// [xorshift64*](https://en.wikipedia.org/wiki/Xorshift): the same values in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }

    /// Small numbers, limits and arbitrary ones, each often.
    fn number(&mut self) -> u64 {
        let shift = self.below(65) as u32;
        self.next().checked_shr(shift).unwrap_or(0)
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        (0..self.below(12)).map(|_| char::from_u32(self.number() as u32 & 0x1f_ffff).unwrap_or('·')).collect()
    }

    fn leaf(&mut self) -> Tree {
        match self.below(8) {
            0 => Tree::Nothing,
            1 => Tree::Flags(self.below(2) == 0, Some((self.below(2) == 0).then_some(()))),
            2 => Tree::Number(self.number() as i64),
            3 => Tree::Wide(
                i128::from(self.next() as i64) * i128::from(self.number() as i64),
                u128::MAX - u128::from(self.number()),
            ),
            4 => Tree::Text(self.text()),
            5 => Tree::Bytes(Blob(self.bytes(200))),
            6 => Tree::Units(vec![(); self.below(300) as usize]),
            _ => Tree::Letter(self.text().chars().next()),
        }
    }

    fn tree(&mut self, levels: u32) -> Tree {
        if levels == 0 || self.below(4) == 0 {
            return self.leaf();
        }
        match self.below(5) {
            0 => Tree::Pair(Box::new((self.tree(levels - 1), self.tree(levels - 1)))),
            1 => Tree::List((0..self.below(5)).map(|_| self.tree(levels - 1)).collect()),
            2 => Tree::Map((0..self.below(5)).map(|_| (self.text(), self.tree(levels - 1))).collect()),
            3 => Tree::Named {
                left: Some(Box::new(self.tree(levels - 1))),
                right: Record { id: self.number(), of: None },
            },
            _ => Tree::Named {
                left: None,
                right: Record { id: self.number(), of: Some(Box::new(self.tree(levels - 1))) },
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Nothing,
    Flags(bool, Option<Option<()>>),
    Number(i64),
    Wide(i128, u128),
    Text(String),
    Bytes(Blob),
    Units(Vec<()>),
    Letter(Option<char>),
    Pair(Box<(Tree, Tree)>),
    List(Vec<Tree>),
    Map(HashMap<String, Tree>),
    Named { left: Option<Box<Tree>>, right: Record },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    id: u64,
    of: Option<Box<Tree>>,
}

#[test]
fn arbitrary_values_return_and_no_prefix_of_them_is_a_value() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let tree = random.tree(5);
        let bytes = written(&tree);
        let cut = random.below(bytes.len() as u64) as usize;
        unreadable::<Tree>(&bytes[..cut]);
        returns(tree);
    }
}

#[test]
fn arbitrary_bytes_are_read_or_refused_in_bounded_time() {
    fn feed<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
        // What could be read can be written: no reading went past a bound of the writer's.
        decode::<T>(&mut &bytes[..]).map(|value| written(&value)).is_ok()
    }
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut read = 0;
    for round in 0..30_000 {
        let bytes = if round % 2 == 0 {
            random.bytes(80)
        } else {
            // Close to a value: one with some bytes exchanged.
            let mut bytes = written(&random.tree(3));
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            bytes
        };
        read += [
            feed::<Tree>(&bytes),
            feed::<Vec<Tree>>(&bytes),
            feed::<HashMap<String, Vec<u64>>>(&bytes),
            feed::<BTreeMap<u8, Option<Shape>>>(&bytes),
            feed::<Vec<[Option<u128>; 32]>>(&bytes),
            feed::<(Option<Option<bool>>, char, i16, f64)>(&bytes),
            feed::<Blob>(&bytes),
            feed::<Result<Point, Duration>>(&bytes),
            // Up to a million elements each time, which unoptimised code takes long for.
            round % 100 < 2 && feed::<Vec<Vec<()>>>(&bytes),
        ]
        .iter()
        .filter(|&&ok| ok)
        .count();
    }
    assert!(read > 1000, "only {read} were values, so that little was tried");
}
