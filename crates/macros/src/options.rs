//! What stands between the parentheses of `#[task(…)]`, `#[main(…)]` and `register!(…)`.

use proc_macro2::Span;
use syn::{
    Ident, LitInt, LitStr, Path, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream},
};

/// The options of `#[task]`, as written. Whether they go together is [`Options::check`]ed at the end.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitInt>,
    pub(crate) krate: Option<Path>,
    /// Where these words stand, if they are there.
    pub(crate) local: Option<Span>,
    pub(crate) state: Option<Span>,
    pub(crate) fallible: Option<Span>,
    pub(crate) plain: Option<Span>,
}

const VALID: &str = "`name = \"…\"`, `version = N`, `local`, `state`, `fallible`, `plain`, `crate = \"…\"`";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let word = input.call(Ident::parse_any)?;
            options.one(&word, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check()?;
        Ok(options)
    }
}

impl Options {
    fn one(&mut self, word: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        match word.to_string().as_str() {
            "name" => set(&mut self.name, word, name(value(word, input, "\"…\"")?)?),
            "version" => set(&mut self.version, word, version(value(word, input, "N")?)?),
            "crate" => set(&mut self.krate, word, crate_path(&value::<LitStr>(word, input, "\"…\"")?)?),
            "local" => set(&mut self.local, word, flag(word, input)?),
            "state" => set(&mut self.state, word, flag(word, input)?),
            "fallible" => set(&mut self.fallible, word, flag(word, input)?),
            "plain" => set(&mut self.plain, word, flag(word, input)?),
            other => Err(syn::Error::new(word.span(), format!("unknown option `{other}`: a task has {VALID}"))),
        }
    }

    fn check(&self) -> syn::Result<()> {
        let refuse = |span: &Span, why: &str| Err(syn::Error::new(*span, why));
        match self {
            Self { local: Some(_), state: Some(span), .. } => refuse(
                span,
                "a task is `local` or `state`, not both: a worker's state is made from arguments that can travel",
            ),
            Self { fallible: Some(_), plain: Some(span), .. } => {
                refuse(span, "a result is `fallible` or `plain`, not both: errors end the task, or they are its value")
            }
            Self { local: Some(_), name: Some(name), .. } => {
                refuse(&name.span(), "a `local` task is in no registry, so a name for it could not be used")
            }
            Self { local: Some(_), version: Some(version), .. }
            | Self { state: Some(_), version: Some(version), .. } => {
                refuse(&version.span(), "only a task whose results can be recorded has a version")
            }
            _ => Ok(()),
        }
    }
}

/// `crate = "…"` alone, for the macros that know no other option.
pub(crate) struct CrateOption(pub(crate) Option<Path>);

impl Parse for CrateOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Self(None));
        }
        let word = input.call(Ident::parse_any)?;
        if word != "crate" {
            return Err(syn::Error::new(
                word.span(),
                format!("unknown option `{word}`: only `crate = \"…\"` is known here"),
            ));
        }
        let path = crate_path(&value::<LitStr>(&word, input, "\"…\"")?)?;
        input.parse::<Option<Token![,]>>()?;
        Ok(Self(Some(path)))
    }
}

fn set<T>(slot: &mut Option<T>, word: &Ident, value: T) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(syn::Error::new(word.span(), format!("`{word}` is said twice"))),
    }
}

fn flag(word: &Ident, input: ParseStream<'_>) -> syn::Result<Span> {
    if input.is_empty() || input.peek(Token![,]) {
        Ok(word.span())
    } else {
        Err(syn::Error::new(input.span(), format!("`{word}` takes no value")))
    }
}

fn value<T: Parse>(word: &Ident, input: ParseStream<'_>, what: &str) -> syn::Result<T> {
    let refuse = |span| syn::Error::new(span, format!("write `{word} = {what}`"));
    input.parse::<Token![=]>().map_err(|_| refuse(word.span()))?;
    // A `$literal` of `macro_rules!` arrives in an invisible group, through which syn's literals look.
    let at = input.span();
    input.parse().map_err(|_| refuse(at))
}

fn name(name: LitStr) -> syn::Result<LitStr> {
    let text = name.value();
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '<') {
        return Err(syn::Error::new(
            name.span(),
            "a task's name is not empty, and has no white space and no `<`, so that it can be typed",
        ));
    }
    Ok(name)
}

fn version(version: LitInt) -> syn::Result<LitInt> {
    match version.base10_parse::<u32>() {
        Ok(_) if version.suffix().is_empty() || version.suffix() == "u32" => Ok(version),
        _ => Err(syn::Error::new(version.span(), "a version is a number below 2^32")),
    }
}

fn crate_path(text: &LitStr) -> syn::Result<Path> {
    let path = text.parse_with(Path::parse_mod_style);
    path.map_err(|_| syn::Error::new(text.span(), "write the path of the crate, as in `crate = \"::taskloom\"`"))
}
