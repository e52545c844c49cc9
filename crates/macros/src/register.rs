//! `register!`: an instance of a generic task joins the registry.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{
    PathArguments, Token, TypePath,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::{expand::Runtime, options::CrateOption};

/// `crate = "…"`, if at all, and the instances.
pub(crate) struct Instances {
    pub(crate) krate: CrateOption,
    types: Punctuated<TypePath, Token![,]>,
}

impl Parse for Instances {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let krate =
            if input.peek(Token![crate]) && input.peek2(Token![=]) { input.parse()? } else { CrateOption(None) };
        let types = Punctuated::parse_terminated(input)?;
        if types.is_empty() {
            return Err(syn::Error::new(
                Span::call_site(),
                "write the task and its types, as in `register!(sorted<u64>)`",
            ));
        }
        for instance in &types {
            check(instance)?;
        }
        Ok(Self { krate, types })
    }
}

fn check(instance: &TypePath) -> syn::Result<()> {
    match instance.path.segments.last().map(|segment| &segment.arguments) {
        Some(PathArguments::AngleBracketed(_)) => Ok(()),
        _ => {
            let name = crate::text::of(instance);
            Err(syn::Error::new_spanned(
                instance,
                format!(
                    "write the types too, as in `{name}<u64>`: a task that is not generic is registered by `#[task]`"
                ),
            ))
        }
    }
}

impl Instances {
    pub(crate) fn expand(&self, runtime: &Runtime) -> TokenStream {
        let private = runtime.private();
        let types = &self.types;
        let types = types.iter();
        quote! {
            #(#private::inventory::submit! { #private::TaskDef::of::<#types>(<#types>::__ABOUT) })*
        }
    }
}
