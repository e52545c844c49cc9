//! A function as a task sees it: which argument is the context, what the others are called, whether it can fail.

use proc_macro2::{Ident, Span};
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericParam, ItemFn, Lit, Meta, Pat, PatType, ReturnType, Type, TypeReference,
    ext::IdentExt, parse_quote, visit::Visit,
};

use crate::options::Options;

/// A function that can be a task.
pub(crate) struct Function {
    pub(crate) item: ItemFn,
    pub(crate) takes_context: bool,
    pub(crate) args: Vec<Arg>,
    pub(crate) output: Type,
    /// Whether the output is a `Result` whose error ends the task.
    pub(crate) fallible: bool,
}

/// An argument that the caller gives: every one but the context.
pub(crate) struct Arg {
    /// The field of the struct. As the argument is called, or `_1` and so on where it is a pattern.
    pub(crate) field: Ident,
    pub(crate) ty: Type,
}

impl Function {
    /// Reads a function that [`refuse`](crate::refuse) has let through.
    pub(crate) fn new(item: ItemFn, options: &Options) -> Self {
        let typed = typed_args(&item);
        let takes_context = typed.first().is_some_and(|arg| is_context(&arg.ty));
        let mut args: Vec<Arg> = Vec::new();
        for (i, arg) in typed.iter().skip(usize::from(takes_context)).enumerate() {
            let mut field = name_of(&arg.pat).unwrap_or_else(|| Ident::new(&format!("_{}", i + 1), Span::mixed_site()));
            while args.iter().any(|earlier| earlier.field == field) {
                field = Ident::new(&format!("_{}", field.unraw()), Span::mixed_site());
            }
            args.push(Arg { field, ty: arg.ty.as_ref().clone() });
        }
        let output = output_of(&item);
        let fallible = can_fail(&output, options);
        Self { takes_context, args, output, fallible, item }
    }

    /// Whether `ty` mentions a parameter of a generic function, so that what it can do depends on the instance.
    pub(crate) fn depends_on_types(&self, ty: &Type) -> bool {
        let mut search =
            Mentions { params: self.item.sig.generics.params.iter().filter_map(param_name).collect(), found: false };
        search.visit_type(ty);
        search.found
    }

    /// The first paragraph of its documentation, in one line.
    pub(crate) fn doc(&self) -> String {
        let lines: Vec<String> = self.item.attrs.iter().filter_map(doc_text).collect();
        let text = lines.join("\n");
        let paragraph =
            text.lines().map(str::trim).skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
        paragraph.collect::<Vec<_>>().join(" ")
    }
}

impl Arg {
    /// The argument's name, as people type it.
    pub(crate) fn name(&self) -> String {
        self.field.unraw().to_string()
    }
}

/// The arguments but for `self`.
pub(crate) fn typed_args(item: &ItemFn) -> Vec<&PatType> {
    let typed = item.sig.inputs.iter().filter_map(|arg| match arg {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    typed.collect()
}

/// What the function returns, `()` if it does not say.
pub(crate) fn output_of(item: &ItemFn) -> Type {
    match &item.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => ty.as_ref().clone(),
    }
}

/// Whether this is `&Context`. A macro sees no types, so the word has to do.
pub(crate) fn is_context(ty: &Type) -> bool {
    matches!(bare(ty), Type::Reference(TypeReference { elem, .. }) if last_word(elem).is_some_and(|word| word == "Context"))
}

/// Whether this output is a `Result` whose error ends the task. Its last word decides (`io::Result<_>`,
/// `anyhow::Result<_>`), unless an option does.
pub(crate) fn can_fail(output: &Type, options: &Options) -> bool {
    options.fallible.is_some() || (options.plain.is_none() && last_word(output).is_some_and(|word| word == "Result"))
}

/// The type without parentheses and without the invisible group in which a `$t:ty` of `macro_rules!` arrives.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        _ => ty,
    }
}

fn last_word(ty: &Type) -> Option<&Ident> {
    match bare(ty) {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// The argument's name at the place where it is written. As part of a macro's expansion it raises
/// none of the lints about names (`_unused` is used by the task, and that is nobody's mistake).
fn name_of(pat: &Pat) -> Option<Ident> {
    match pat {
        Pat::Ident(pat) if pat.subpat.is_none() => {
            let mut name = pat.ident.clone();
            name.set_span(name.span().resolved_at(Span::mixed_site()));
            Some(name)
        }
        _ => None,
    }
}

fn doc_text(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn param_name(param: &GenericParam) -> Option<Ident> {
    match param {
        GenericParam::Type(param) => Some(param.ident.clone()),
        GenericParam::Const(param) => Some(param.ident.clone()),
        GenericParam::Lifetime(_) => None,
    }
}

struct Mentions {
    params: Vec<Ident>,
    found: bool,
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.found |= self.params.contains(ident);
    }
}
