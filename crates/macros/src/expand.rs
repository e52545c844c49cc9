//! What a task becomes: a struct named as the function, and one block with all it implements.
//!
//! ```text
//! fn count(path: PathBuf) -> Result<u64> { … }           as it was
//! struct count { path: PathBuf }                         the arguments; braces, so that the value `count` stays the function
//! const _: () = {                                        nothing in here has a name outside
//!     impl count { fn task(path: PathBuf) -> Self }
//!     impl Task for count { … }                          how it runs
//!     impl PortableTask for count { … }                  how it travels; `StateTask` for a state, nothing for a local task
//!     inventory::submit! { TaskDef::of::<count>(…) }     not for a generic task: `register!` does it for an instance
//! };
//! ```
//!
//! Paths start at the root and names of ours with `__`: the block stands among names that we do not know.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, GenericParam, Generics, Path, Type, ext::IdentExt, parse_quote};

use crate::{function::Function, options::Options, text};

/// The crate that the expansion refers to.
pub(crate) struct Runtime(pub(crate) Path);

impl Runtime {
    /// Where it keeps what only macros use.
    pub(crate) fn private(&self) -> TokenStream {
        let krate = &self.0;
        quote!(#krate::__private)
    }
}

/// Writes the function and its task.
pub(crate) fn expand(function: &Function, options: &Options, runtime: &Runtime) -> TokenStream {
    let expansion = Expansion {
        private: runtime.private(),
        generics: &function.item.sig.generics,
        name: &function.item.sig.ident,
        function,
        options,
    };
    let (item, inherited) = (&function.item, inherited(&function.item.attrs));
    let (structure, constructor, task, travels) =
        (expansion.structure(), expansion.constructor(), expansion.task(), expansion.travels());
    quote! {
        // Its advice, to take a reference, is what a task refuses.
        #[allow(clippy::needless_pass_by_value)]
        #item
        #(#inherited)*
        #structure
        #(#inherited)*
        const _: () = {
            #constructor
            #task
            #travels
        };
    }
}

struct Expansion<'f> {
    private: TokenStream,
    name: &'f Ident,
    generics: &'f Generics,
    function: &'f Function,
    options: &'f Options,
}

impl Expansion<'_> {
    fn structure(&self) -> TokenStream {
        let (name, vis) = (self.name, &self.function.item.vis);
        let (impl_generics, _, bounds) = self.generics.split_for_impl();
        let (fields, types) = (self.fields(), self.types());
        // Not a copy of the function's documentation: its examples would run twice.
        let doc = format!(" The task of [`{}()`](fn@{name}): its arguments, to be submitted.", name.unraw());
        let marker = self.type_params().next().is_some().then(|| {
            let params = self.type_params();
            // Neither `Send` nor a size is asked of a type that only chooses the instance.
            quote!(__types: ::core::marker::PhantomData<(#(fn() -> *const #params,)*)>,)
        });
        quote! {
            #[doc = #doc]
            #[allow(non_camel_case_types)]
            #[must_use = "a task does nothing until it is submitted"]
            #vis struct #name #impl_generics #bounds {
                #(#fields: #types,)*
                #marker
            }
        }
    }

    fn constructor(&self) -> TokenStream {
        let (name, vis) = (self.name, &self.function.item.vis);
        let (impl_generics, ty_generics, bounds) = self.generics.split_for_impl();
        let (fields, types, marker) = (self.fields(), self.types(), self.marker());
        let doc = format!(" The task that calls [`{}()`](fn@{name}) with these arguments.", name.unraw());
        let debug_name = name.unraw().to_string();
        quote! {
            #[automatically_derived]
            impl #impl_generics #name #ty_generics #bounds {
                #[doc = #doc]
                #vis fn task(#(#fields: #types),*) -> Self {
                    Self { #(#fields,)* #marker }
                }
            }
            #[automatically_derived]
            impl #impl_generics ::core::fmt::Debug for #name #ty_generics #bounds {
                fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    ::core::fmt::Formatter::debug_struct(__f, #debug_name).finish_non_exhaustive()
                }
            }
        }
    }

    /// `Task` itself; a state is none, it is made where it stays.
    fn task(&self) -> TokenStream {
        if self.options.state.is_some() {
            return TokenStream::new();
        }
        let Self { private, name, .. } = self;
        let (impl_generics, ty_generics, _) = self.generics.split_for_impl();
        let bounds = self.bounds();
        let output = self.output();
        let reach = if self.options.local.is_some() { quote!(Local) } else { quote!(Portable) };
        let run = self.run(&quote!(Output));
        quote! {
            #[automatically_derived]
            impl #impl_generics #private::Task for #name #ty_generics #bounds {
                type Output = #output;
                type Reach = #private::#reach;
                #run
            }
        }
    }

    /// The method that calls the function; `value` is the associated type that it gives.
    fn run(&self, value: &TokenStream) -> TokenStream {
        let Self { private, name, function, .. } = self;
        let cx = format_ident!("__cx");
        let cx_binding = if function.takes_context { quote!(#cx) } else { quote!(_) };
        let cx_argument = function.takes_context.then_some(&cx);
        // Renamed: an argument may be called as the function, which would then be out of reach.
        let (fields, bindings) = (self.fields(), self.bindings());
        let instance = self.instance();
        let arguments = cx_argument.into_iter().chain(&bindings);
        let call = quote!(#name #instance(#(#arguments),*));
        let run = if function.fallible {
            let into_failure = self.error_road();
            quote! {
                match #private::Fallible::into_result(#call) {
                    ::core::result::Result::Ok(__value) => ::core::result::Result::Ok(__value),
                    ::core::result::Result::Err(__error) => ::core::result::Result::Err(#into_failure(__error)),
                }
            }
        } else {
            quote!(::core::result::Result::Ok(#call))
        };
        quote! {
            fn run(self, #cx_binding: &#private::Context) -> ::core::result::Result<Self::#value, #private::Failure> {
                let Self { #(#fields: #bindings,)* .. } = self;
                #run
            }
        }
    }

    fn travels(&self) -> TokenStream {
        match self.options {
            Options { local: Some(_), .. } => self.used(),
            Options { state: Some(_), .. } => self.state(),
            _ => self.portable(),
        }
    }

    fn portable(&self) -> TokenStream {
        let Self { private, name, .. } = self;
        let (impl_generics, ty_generics, _) = self.generics.split_for_impl();
        let (bounds, shared) = (self.bounds(), self.encoding());
        let version = self.options.version.as_ref().map_or_else(|| quote!(0), ToTokens::to_token_stream);
        let (fields, roads, marker) = (self.fields(), self.roads(), self.marker());
        let portable_task = self.portable_task();
        let params = self.params();
        let submit = self.submit(&quote!(of));
        let used = self.used();
        quote! {
            #params
            #[automatically_derived]
            impl #impl_generics #portable_task for #name #ty_generics #bounds {
                type Codec = #private::Postcard;
                const VERSION: ::core::primitive::u32 = #version;
                #shared
                fn hand_over(self, __out: &mut #private::Payload) {
                    #((Self::#roads().3)(self.#fields, __out);)*
                }
                fn from_json(__text: &::core::primitive::str) -> ::core::result::Result<Self, #private::JsonFault> {
                    let __args = #private::JsonArgs::split(__text, __PARAMS)?;
                    ::core::result::Result::Ok(Self { #(#fields: (Self::#roads().2)(&__args)?,)* #marker })
                }
            }
            #used
            #submit
        }
    }

    fn state(&self) -> TokenStream {
        let Self { private, name, .. } = self;
        let (params, shared, submit, used) =
            (self.params(), self.encoding(), self.submit(&quote!(of_state)), self.used());
        let (output, run) = (self.output(), self.run(&quote!(State)));
        quote! {
            #params
            #[automatically_derived]
            impl #private::StateTask for #name {
                type State = #output;
                #run
                #shared
            }
            #used
            #submit
        }
    }

    /// What portable and state tasks have in common.
    fn encoding(&self) -> TokenStream {
        let Self { private, .. } = self;
        let name = match &self.options.name {
            Some(name) => quote!(#name),
            None => {
                let name = self.name.unraw().to_string();
                quote!(::core::concat!(::core::module_path!(), "::", #name))
            }
        };
        let (fields, roads, marker) = (self.fields(), self.roads(), self.marker());
        let slot = if self.generics.params.is_empty() {
            quote! {
                static __SLOT: ::std::sync::OnceLock<::core::option::Option<::core::primitive::u32>> = ::std::sync::OnceLock::new();
                #private::slot_of::<Self>(&__SLOT)
            }
        } else {
            // A static in here would be one for all instances.
            quote!(#private::Registry::get().slot_of::<Self>())
        };
        quote! {
            const NAME: &'static ::core::primitive::str = #name;
            const PARAMS: &'static [#private::Param] = __PARAMS;
            fn encode(&self, __out: &mut #private::Payload) -> ::core::result::Result<(), #private::CodecFault> {
                #((Self::#roads().0)(&self.#fields, __out)?;)*
                ::core::result::Result::Ok(())
            }
            fn decode(__from: &mut #private::Encoded<'_>) -> ::core::result::Result<Self, #private::CodecFault> {
                ::core::result::Result::Ok(Self { #(#fields: (Self::#roads().1)(__from)?,)* #marker })
            }
            fn slot() -> ::core::option::Option<::core::primitive::u32> {
                #slot
            }
        }
    }

    /// The arguments as text, and for each the roads that it can take: into bytes and out of them, out of JSON, and into a body.
    ///
    /// The roads could stand where they are used. But each function that needs an argument to be
    /// `Data` reports by itself that it is not; so one of them needs it for all.
    fn params(&self) -> TokenStream {
        let Self { private, name, function, .. } = self;
        let (impl_generics, ty_generics, _) = self.generics.split_for_impl();
        let (bounds, roads, types) = (self.bounds(), self.roads(), self.types());
        let names: Vec<_> = function.args.iter().map(|arg| arg.name()).collect();
        let written: Vec<_> = types.iter().map(text::of).collect();
        let index = 0..types.len();
        quote! {
            const __PARAMS: &[#private::Param] = &[#(#private::Param { name: #names, ty: #written }),*];
            #[automatically_derived]
            impl #impl_generics #name #ty_generics #bounds {
                #(fn #roads() -> (
                    fn(&#types, &mut #private::Payload) -> ::core::result::Result<(), #private::CodecFault>,
                    fn(&mut #private::Encoded<'_>) -> ::core::result::Result<#types, #private::CodecFault>,
                    fn(&#private::JsonArgs<'_>) -> ::core::result::Result<#types, #private::JsonFault>,
                    fn(#types, &mut #private::Payload),
                ) {
                    (
                        |__value, __out| #private::encode_param::<#private::Postcard, #types>(#names, __value, __out),
                        |__from| #private::decode_param::<#private::Postcard, #types>(#names, __from),
                        |__args| __args.take::<#types>(#index),
                        <#types as #private::Data>::hand_over,
                    )
                })*
            }
        }
    }

    /// Hands the definition to the linker, or, for a generic task, to `register!`.
    fn submit(&self, of: &TokenStream) -> TokenStream {
        let Self { private, name, function, .. } = self;
        let (output, doc) = (text::of(&function.output), function.doc());
        let about = quote! {
            #private::About {
                place: #private::Place {
                    // Absent where something else than cargo builds.
                    package: (
                        match ::core::option_env!("CARGO_PKG_NAME") {
                            ::core::option::Option::Some(__name) => __name,
                            ::core::option::Option::None => "",
                        },
                        match ::core::option_env!("CARGO_PKG_VERSION") {
                            ::core::option::Option::Some(__version) => __version,
                            ::core::option::Option::None => "",
                        },
                    ),
                    module: ::core::module_path!(),
                    file: ::core::file!(),
                    line: ::core::line!(),
                    column: ::core::column!(),
                },
                output: #output,
                doc: #doc,
            }
        };
        if self.generics.params.is_empty() {
            return quote!(#private::inventory::submit! { #private::TaskDef::#of::<#name>(#about) });
        }
        let (impl_generics, ty_generics, bounds) = self.generics.split_for_impl();
        let vis = &function.item.vis;
        quote! {
            #[automatically_derived]
            impl #impl_generics #name #ty_generics #bounds {
                #[doc(hidden)]
                #vis const __ABOUT: #private::About = #about;
            }
        }
    }

    /// Uses the constructor. A library may have tasks that only others submit, and nobody should have to allow dead code for that.
    fn used(&self) -> TokenStream {
        let (name, types) = (self.name, self.types());
        if self.generics.params.is_empty() {
            return quote!(const _: fn(#(#types),*) -> #name = #name::task;);
        }
        quote!()
    }

    /// The function's own bounds, and for what depends on the instance those that tasks need.
    fn bounds(&self) -> Option<syn::WhereClause> {
        let Self { private, function, .. } = self;
        let mut generics = self.generics.clone();
        let bounds = generics.make_where_clause();
        let params = self.type_params();
        bounds.predicates.extend(params.map(|param| -> syn::WherePredicate { parse_quote!(#param: 'static) }));
        let carried: Path = match self.options.local {
            Some(_) => parse_quote!(::core::marker::Send),
            None => parse_quote!(#private::Data),
        };
        for arg in function.args.iter().filter(|arg| function.depends_on_types(&arg.ty)) {
            let ty = &arg.ty;
            bounds.predicates.push(parse_quote!(#ty: #carried));
        }
        if function.depends_on_types(&function.output) {
            let (returned, output) = (&function.output, self.output());
            bounds.predicates.push(parse_quote!(#output: #carried));
            if function.fallible {
                bounds.predicates.push(parse_quote!(<#returned as #private::Fallible>::Error: #private::IntoFailure));
            }
        }
        generics.where_clause.filter(|bounds| !bounds.predicates.is_empty())
    }

    /// What the task gives when it succeeds.
    fn output(&self) -> TokenStream {
        let (private, output) = (&self.private, &self.function.output);
        if self.function.fallible { quote!(<#output as #private::Fallible>::Value) } else { quote!(#output) }
    }

    /// How an error leaves the task. Named by its whole type, since a call with an inferred one is
    /// reported a second time, at its argument, which is ours.
    fn error_road(&self) -> TokenStream {
        let (start, end) = self.place_of_output();
        let (private, output) = (respanned(&self.private, start), &self.function.output);
        let path = quote_spanned!(start=> <<#output as #private::Fallible>::Error as #private::IntoFailure>::);
        let method = quote_spanned!(end=> into_failure);
        quote!(#path #method)
    }

    /// The trait that asks something of the result.
    fn portable_task(&self) -> TokenStream {
        let (start, end) = self.place_of_output();
        let private = respanned(&self.private, start);
        let colons = quote_spanned!(start=> ::);
        let word = quote_spanned!(end=> PortableTask);
        quote!(#private #colons #word)
    }

    /// First and last token of the result's type. A path between them is, for the compiler, where the
    /// type stands, and there it reports what it misses in the result.
    fn place_of_output(&self) -> (Span, Span) {
        let mut tokens =
            self.function.output.to_token_stream().into_iter().map(|token| token.span().resolved_at(Span::call_site()));
        let start = tokens.next().unwrap_or_else(Span::call_site);
        (start, tokens.last().unwrap_or(start))
    }

    fn fields(&self) -> Vec<&Ident> {
        self.function.args.iter().map(|arg| &arg.field).collect()
    }

    fn types(&self) -> Vec<&Type> {
        self.function.args.iter().map(|arg| &arg.ty).collect()
    }

    fn roads(&self) -> Vec<Ident> {
        (0..self.function.args.len()).map(|i| format_ident!("__arg_{i}")).collect()
    }

    fn bindings(&self) -> Vec<Ident> {
        (0..self.function.args.len()).map(|i| Ident::new(&format!("__{i}"), Span::mixed_site())).collect()
    }

    fn type_params(&self) -> impl Iterator<Item = &Ident> {
        self.generics.type_params().map(|param| &param.ident)
    }

    fn marker(&self) -> Option<TokenStream> {
        self.type_params().next().map(|_| quote!(__types: ::core::marker::PhantomData,))
    }

    /// `::<T, N>`, since the arguments alone may not say which instance is meant.
    fn instance(&self) -> Option<TokenStream> {
        let params = self.generics.params.iter().filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        });
        let params: Vec<_> = params.collect();
        (!params.is_empty()).then(|| quote!(::<#(#params),*>))
    }
}

fn respanned(tokens: &TokenStream, span: Span) -> TokenStream {
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.clone().into_iter().map(respan).collect()
}

/// Attributes that speak of the function's whole surroundings: when it is compiled, what is deprecated, what is allowed there.
fn inherited(attrs: &[Attribute]) -> Vec<TokenStream> {
    let one = |attr: &Attribute| {
        let path = attr.path();
        if path.is_ident("cfg") || path.is_ident("cfg_attr") || path.is_ident("allow") {
            Some(attr.to_token_stream())
        } else if path.is_ident("expect") {
            // What is expected in the function need not occur in the task.
            attr.meta.require_list().ok().map(|list| {
                let lints = &list.tokens;
                quote!(#[allow(#lints)])
            })
        } else if path.is_ident("deprecated") {
            Some(quote!(#[allow(deprecated)]))
        } else {
            None
        }
    };
    attrs.iter().filter_map(one).collect()
}
