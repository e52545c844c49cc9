//! `#[main]`: a `main` whose first line is `init()`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, ItemFn, Path, parse_quote};

/// Puts `krate::init()` first.
pub(crate) fn expand(mut item: ItemFn, krate: &Path) -> TokenStream {
    if let Err(error) = check(&item) {
        let error = error.to_compile_error();
        if item.sig.asyncness.take().is_some() {
            // The compiler would refuse the word again, or else each `.await`.
            item.block = parse_quote!({ ::core::unreachable!() });
        }
        return quote!(#error #item);
    }
    item.block.stmts.insert(0, parse_quote!(#krate::init();));
    quote!(#item)
}

fn check(item: &ItemFn) -> syn::Result<()> {
    let refuse = |at: &dyn quote::ToTokens, why: &str| Err(syn::Error::new_spanned(at.to_token_stream(), why));
    let sig = &item.sig;
    if sig.ident != "main" {
        return refuse(&sig.ident, "`init()` is the first line of `main`, and of nothing else");
    }
    if let Some(word) = &sig.asyncness {
        // A runtime's own attribute would start its threads before this one's first line.
        return refuse(
            word,
            "`main` is no `async fn` here: a worker must be one before a runtime starts. Start the runtime inside",
        );
    }
    match sig.inputs.first() {
        Some(FnArg::Receiver(argument)) => refuse(argument, "`main` has no arguments"),
        Some(FnArg::Typed(argument)) => refuse(argument, "`main` has no arguments"),
        None => Ok(()),
    }
}
