//! What cannot be a task, said once, at the word that is wrong, with what to do instead.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{
    FnArg, GenericParam, ItemFn, Lifetime, Safety, Type, TypeFnPtr, TypeImplTrait, TypePtr, TypeReference,
    TypeTraitObject,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{
    expand::Runtime,
    function::{bare, can_fail, is_context, output_of, typed_args},
    options::Options,
};

/// Checks everything that can be seen without knowing types.
pub(crate) fn check(item: &ItemFn, options: &Options) -> syn::Result<()> {
    signature(item)?;
    generics(item, options)?;
    let stays = options.local.is_some();
    for (i, arg) in typed_args(item).into_iter().enumerate() {
        if let Some(attr) =
            arg.attrs.iter().find(|attr| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr"))
        {
            return Err(syn::Error::new(
                attr.span(),
                "a task has the same arguments in every build: put the `cfg` on the whole function",
            ));
        }
        argument(&arg.ty, i == 0, stays)?;
    }
    result(&output_of(item), stays || options.state.is_some())
}

fn signature(item: &ItemFn) -> syn::Result<()> {
    let sig = &item.sig;
    if let Some(FnArg::Receiver(receiver)) = sig.inputs.first() {
        return refuse(&receiver.self_token, "a task is a free function: pass what it needs of `self` as an argument");
    }
    if let Some(word) = &sig.asyncness {
        return refuse(
            word,
            "a task is no `async fn`: a worker runs it to its end. Block on the future inside, and `.await` the task's handle outside",
        );
    }
    if let Some(dots) = &sig.variadic {
        return refuse(&dots.dots, "a task has a fixed number of arguments: take a `Vec` instead");
    }
    if let Safety::Unsafe(word) = &sig.safety {
        return refuse(
            word,
            "a task is safe to call: anybody can submit it. Check what must hold inside, then use an `unsafe` block",
        );
    }
    if let Some(abi) = &sig.abi {
        return refuse(&abi.extern_token, "a task is a Rust function: call the `extern` function from one");
    }
    Ok(())
}

fn generics(item: &ItemFn, options: &Options) -> syn::Result<()> {
    let generics = &item.sig.generics;
    for param in &generics.params {
        if let GenericParam::Lifetime(param) = param {
            return refuse(
                &param.lifetime,
                "a task owns its arguments, since it may run when the caller is gone: it has no lifetime parameter",
            );
        }
    }
    match options.state {
        Some(span) if !generics.params.is_empty() => {
            Err(syn::Error::new(span, "a `state` task is not generic: write one function for each type of state"))
        }
        _ => Ok(()),
    }
}

fn argument(ty: &Type, first: bool, stays: bool) -> syn::Result<()> {
    if is_context(ty) {
        return match bare(ty) {
            Type::Reference(TypeReference { mutability: Some(word), .. }) => {
                refuse(word, "a task shares its context: take `&Context`")
            }
            _ if !first => refuse(ty, "the context comes first: make it the first argument"),
            _ => Ok(()),
        };
    }
    // The way out depends on what is behind the reference; everybody meets this one first.
    if let Type::Reference(reference) = bare(ty)
        && !(stays && is_static(reference.lifetime.as_ref()))
    {
        return refuse(
            ty,
            &format!(
                "a task owns its arguments, since it may run when the caller is gone: take {} instead of a reference",
                owned(reference)
            ),
        );
    }
    let mut search = Search { stays, what: "argument", found: Ok(()) };
    search.visit_type(ty);
    search.found
}

fn result(ty: &Type, stays: bool) -> syn::Result<()> {
    match bare(ty) {
        Type::Never(never) => return refuse(never, "a task comes to an end: say what it returns, `()` if nothing"),
        Type::Reference(reference) if !stays => {
            return refuse(
                ty,
                &format!("a task's result outlives its worker: return {} instead of a reference", owned(reference)),
            );
        }
        _ => {}
    }
    let mut search = Search { stays, what: "result", found: Ok(()) };
    search.visit_type(ty);
    search.found
}

/// Looks for what cannot be kept in a struct, however deep in the type. Keeps the first find.
struct Search {
    stays: bool,
    what: &'static str,
    found: syn::Result<()>,
}

impl Search {
    fn find(&mut self, at: &impl quote::ToTokens, why: &str) {
        if self.found.is_ok() {
            self.found = refuse(at, why);
        }
    }
}

impl<'ast> Visit<'ast> for Search {
    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let why = match self.what {
            "argument" => {
                "a task is a type, and the types of its arguments have names: write `fn name<T: …>(… T)` instead of `impl …`"
            }
            _ => "a task's result has a type with a name: write it instead of `impl …`",
        };
        self.find(&ty.impl_token, why);
    }
    fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
        if is_static(ty.lifetime.as_ref()) {
            visit::visit_type_reference(self, ty);
        } else {
            let why = format!(
                "a task's {} owns its content, since it outlives the caller: hold {} instead of a reference",
                self.what,
                owned(ty)
            );
            self.find(ty, &why);
        }
    }
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if !is_static(Some(lifetime)) {
            let why = format!(
                "a task's {} owns its content, since it outlives the caller: only `'static` can stand here",
                self.what
            );
            self.find(lifetime, &why);
        }
    }
    fn visit_type_ptr(&mut self, ty: &'ast TypePtr) {
        if !self.stays {
            let why = format!(
                "a pointer means nothing in another process: make the {} a value, or write `#[task(local)]`",
                self.what
            );
            self.find(ty, &why);
        }
    }
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        // `Send` is missed on the whole task and serde on the type: the compiler would say both, and neither says what to do.
        if segment.ident == "Rc" && matches!(segment.arguments, syn::PathArguments::AngleBracketed(_)) {
            self.find(segment, "an `Rc` cannot leave its thread: use an `Arc`, or the value itself");
        }
        visit::visit_path_segment(self, segment);
    }
    // Lifetimes in these are often bound by the type itself, as in `fn(&str)` and `dyn for<'a> Fn(&'a str)`.
    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_type_trait_object(&mut self, _: &'ast TypeTraitObject) {}
}

fn is_static(lifetime: Option<&Lifetime>) -> bool {
    lifetime.is_some_and(|lifetime| lifetime.ident == "static")
}

/// What to write for a reference.
fn owned(reference: &TypeReference) -> String {
    let text = crate::text::of(bare(&reference.elem));
    match (bare(&reference.elem), text.as_str()) {
        (_, "str") => "`String`".to_owned(),
        (_, "Path" | "std::path::Path") => "`PathBuf`".to_owned(),
        (_, "OsStr" | "std::ffi::OsStr") => "`OsString`".to_owned(),
        (Type::Slice(slice), _) => format!("`Vec<{}>`", crate::text::of(&slice.elem)),
        (Type::TraitObject(_) | Type::ImplTrait(_), _) => "a value of a type with a name".to_owned(),
        _ => format!("`{text}`"),
    }
}

fn refuse<T>(at: &impl quote::ToTokens, why: &str) -> syn::Result<T> {
    Err(syn::Error::new_spanned(at, why))
}

/// The function as it is, the error, and a task that does nothing but keep its callers from a second error.
pub(crate) fn stub(item: &ItemFn, options: &Options, error: &syn::Error, runtime: &Runtime) -> TokenStream {
    let error = error.to_compile_error();
    // A method: a struct cannot stand beside it.
    if matches!(item.sig.inputs.first(), Some(FnArg::Receiver(_))) {
        return quote!(#error #item);
    }
    // The compiler would add that such functions are unstable.
    let mut item = item.clone();
    item.sig.variadic = None;
    let (vis, name, private) = (&item.vis, &item.sig.ident, runtime.private());
    // Whatever the function takes the constructor can take: references, lifetimes and `impl Trait` too.
    let (generics, _, bounds) = item.sig.generics.split_for_impl();
    let types = typed_args(&item).into_iter().map(|arg| &arg.ty).filter(|ty| !is_context(ty));
    let output = stub_output(&item, options, &private);
    let (reach, portable) = match options.local {
        Some(_) => (quote!(Local), quote!()),
        None => (quote!(Portable), stub_portable(name, &private)),
    };
    quote! {
        #error
        #item
        #[allow(non_camel_case_types)]
        #vis struct #name {}
        const _: () = {
            impl #name {
                #vis fn task #generics (#(_: #types),*) -> Self #bounds {
                    Self {}
                }
            }
            impl #private::Task for #name {
                type Output = #output;
                type Reach = #private::#reach;
                fn run(self, _: &#private::Context) -> ::core::result::Result<Self::Output, #private::Failure> {
                    ::core::unreachable!()
                }
            }
            #portable
        };
    }
}

/// What the task would give, so that what callers do with it fits; `()` where that has no name.
fn stub_output(item: &ItemFn, options: &Options, private: &TokenStream) -> TokenStream {
    let output = output_of(item);
    if !item.sig.generics.params.is_empty() || result(&output, false).is_err() {
        quote!(())
    } else if can_fail(&output, options) {
        quote!(<#output as #private::Fallible>::Value)
    } else {
        quote!(#output)
    }
}

fn stub_portable(name: &Ident, private: &TokenStream) -> TokenStream {
    quote! {
        impl #private::PortableTask for #name {
            type Codec = #private::Postcard;
            const NAME: &'static ::core::primitive::str = "";
            const VERSION: ::core::primitive::u32 = 0;
            const PARAMS: &'static [#private::Param] = &[];
            fn encode(&self, _: &mut #private::Payload) -> ::core::result::Result<(), #private::CodecFault> {
                ::core::unreachable!()
            }
            fn hand_over(self, _: &mut #private::Payload) {
                ::core::unreachable!()
            }
            fn decode(_: &mut #private::Encoded<'_>) -> ::core::result::Result<Self, #private::CodecFault> {
                ::core::unreachable!()
            }
            fn from_json(_: &::core::primitive::str) -> ::core::result::Result<Self, #private::JsonFault> {
                ::core::unreachable!()
            }
            fn slot() -> ::core::option::Option<::core::primitive::u32> {
                ::core::unreachable!()
            }
        }
    }
}
