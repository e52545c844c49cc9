//! The macros of Taskloom: [`#[task]`](macro@task), [`#[main]`](macro@main) and [`register!`].
//!
//! ```text
//! attribute → Options ┐
//!                     ├→ refuse::check → Function → expand     a task, and the function as it was
//! function ───────────┘        └→ refuse::stub                 one error, and nothing that makes a second one
//! ```
//!
//! A macro cannot see which crate its user depends on. So each exists twice: one expands to paths
//! in `taskloom_core`, which core re-exports; the other, `…_of_facade`, to paths in `taskloom`,
//! which re-exports it under the first one's name. `crate = "…"` serves everybody else.
//!
//! Nobody depends on this crate directly, and what the expansions refer to, `__private`, is no API.

#![forbid(unsafe_code)]

mod entry;
mod expand;
mod function;
mod options;
mod refuse;
mod register;
mod text;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use syn::{ItemFn, Path, parse_macro_input, parse_quote};

use crate::{
    expand::Runtime,
    function::Function,
    options::{CrateOption, Options},
    register::Instances,
};

#[doc = include_str!("task.md")]
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_task(options, item.into(), parse_quote!(::taskloom_core)).into()
}

#[doc = include_str!("task.md")]
#[proc_macro_attribute]
pub fn task_of_facade(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_task(options, item.into(), parse_quote!(::taskloom)).into()
}

#[doc = include_str!("main.md")]
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_main(options, item, parse_quote!(::taskloom_procs))
}

#[doc = include_str!("main.md")]
#[proc_macro_attribute]
pub fn main_of_facade(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_main(options, item, parse_quote!(::taskloom))
}

#[doc = include_str!("register.md")]
#[proc_macro]
pub fn register(instances: TokenStream) -> TokenStream {
    expand_register(instances, parse_quote!(::taskloom_core))
}

#[doc = include_str!("register.md")]
#[proc_macro]
pub fn register_of_facade(instances: TokenStream) -> TokenStream {
    expand_register(instances, parse_quote!(::taskloom))
}

fn expand_task(options: TokenStream, item: Tokens, krate: Path) -> Tokens {
    let item: ItemFn = match syn::parse2(item.clone()) {
        Ok(item) => item,
        Err(_) => {
            let error = syn::Error::new(proc_macro2::Span::call_site(), "`#[task]` stands on a function with a body")
                .to_compile_error();
            return quote::quote!(#error #item);
        }
    };
    // Options that cannot be read still leave a function whose callers should not be troubled.
    let (options, unread) = match syn::parse(options) {
        Ok(options) => (options, None),
        Err(error) => (Options::default(), Some(error)),
    };
    let runtime = Runtime(options.krate.clone().unwrap_or(krate));
    match unread.map_or_else(|| refuse::check(&item, &options), Err) {
        Ok(()) => expand::expand(&Function::new(item, &options), &options, &runtime),
        Err(error) => refuse::stub(&item, &options, &error, &runtime),
    }
}

fn expand_main(options: TokenStream, item: TokenStream, krate: Path) -> TokenStream {
    let CrateOption(chosen) = parse_macro_input!(options);
    let item = parse_macro_input!(item as ItemFn);
    entry::expand(item, &chosen.unwrap_or(krate)).into()
}

fn expand_register(instances: TokenStream, krate: Path) -> TokenStream {
    let instances = parse_macro_input!(instances as Instances);
    let runtime = Runtime(instances.krate.0.clone().unwrap_or(krate));
    instances.expand(&runtime).into()
}
