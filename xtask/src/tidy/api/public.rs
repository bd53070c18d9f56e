//! The public signatures of a module.

use std::fmt::Display;

use syn::visit::Visit;
use syn::{Attribute, Fields, Item, ItemImpl, ItemTrait, TraitItem};

use super::names::{Crate, Imports, Mentions, imports, is_foreign, is_public, line};

/// A foreign type in a public signature.
#[derive(Debug)]
pub(super) struct Leak {
    pub(super) line: usize,
    /// The item whose signature it is.
    pub(super) place: String,
    pub(super) shown: String,
}

pub(super) fn leaks(items: &[Item], facts: &Crate) -> Vec<Leak> {
    let mut module = Module { scope: Imports::of(items), facts, leaks: Vec::new() };
    for item in items {
        module.item(item);
    }
    module.leaks
}

struct Module<'a> {
    scope: Imports,
    facts: &'a Crate,
    leaks: Vec<Leak>,
}

impl Module<'_> {
    /// Looks at a piece of a signature.
    fn look(&mut self, place: &dyn Display, at: impl FnOnce(&mut Mentions<'_>)) {
        let mut mentions = Mentions::new(&self.scope, self.facts);
        at(&mut mentions);
        let found = mentions.found.into_iter();
        self.leaks.extend(found.map(|(line, shown)| Leak { line, place: place.to_string(), shown }));
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Fn(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.sig.ident, |at| at.visit_signature(&item.sig));
            }
            Item::Struct(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.ident, |at| at.visit_generics(&item.generics));
                self.fields(&item.ident, &item.fields, false);
            }
            Item::Union(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.ident, |at| at.visit_generics(&item.generics));
                for field in item.fields.named.iter().filter(|field| is_public(&field.vis)) {
                    self.look(&item.ident, |at| at.visit_type(&field.ty));
                }
            }
            Item::Enum(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.ident, |at| at.visit_generics(&item.generics));
                for variant in &item.variants {
                    self.fields(&format!("{}::{}", item.ident, variant.ident), &variant.fields, true);
                }
            }
            Item::Type(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.ident, |at| {
                    at.visit_generics(&item.generics);
                    at.visit_type(&item.ty);
                });
            }
            Item::Const(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.ident, |at| at.visit_type(&item.ty));
            }
            Item::Static(item) if open(&item.vis, &item.attrs) => {
                self.look(&item.ident, |at| at.visit_type(&item.ty));
            }
            Item::Trait(item) if open(&item.vis, &item.attrs) => self.contract(item),
            Item::Impl(item) if !is_test(&item.attrs) => self.implementation(item),
            Item::Use(item) if !is_test(&item.attrs) => self.passed_on(item),
            Item::ExternCrate(item) if open(&item.vis, &item.attrs) => {
                let name = item.ident.to_string();
                if is_foreign(std::slice::from_ref(&name)) {
                    self.leaks.push(Leak {
                        line: line(&item.ident),
                        place: "extern crate".to_owned(),
                        shown: name,
                    });
                }
            }
            Item::Mod(item) if !is_test(&item.attrs) => {
                if let Some((_, items)) = &item.content {
                    self.leaks.extend(leaks(items, self.facts));
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, place: &dyn Display, fields: &Fields, all: bool) {
        for (at, field) in fields.iter().enumerate().filter(|(_, field)| all || is_public(&field.vis)) {
            let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
            self.look(&format!("{place}.{name}"), |at| at.visit_type(&field.ty));
        }
    }

    fn contract(&mut self, item: &ItemTrait) {
        self.look(&item.ident, |at| {
            at.visit_generics(&item.generics);
            item.supertraits.iter().for_each(|bound| at.visit_type_param_bound(bound));
        });
        for inner in &item.items {
            let name = match inner {
                TraitItem::Fn(inner) => &inner.sig.ident,
                TraitItem::Type(inner) => &inner.ident,
                TraitItem::Const(inner) => &inner.ident,
                _ => continue,
            };
            self.look(&format!("{}::{name}", item.ident), |at| at.visit_trait_item(inner));
        }
    }

    fn implementation(&mut self, item: &ItemImpl) {
        let of = last_names(|names| names.visit_type(&item.self_ty));
        let is_ours = of.iter().any(|name| self.facts.public.contains(name));
        let place = of.first().cloned().unwrap_or_else(|| "impl".to_owned());
        let Some((contract, _)) = &item.trait_ else {
            if is_ours {
                self.look(&place, |at| at.visit_generics(&item.generics));
                self.own(&place, item);
            }
            return;
        };
        let names = last_names(|names| names.visit_path(contract));
        let name = contract.segments.last().map(|part| part.ident.to_string()).unwrap_or_default();
        if self.facts.private_traits.contains(&name) {
            return;
        }
        // `impl From<theirs> for ours`, `impl From<ours> for theirs`, `impl OurTrait for theirs`.
        if is_ours || names.iter().any(|name| self.facts.public.contains(name)) && self.is_theirs(item) {
            self.look(&format!("impl {name} for {place}"), |at| at.visit_item_impl(item));
        }
    }

    fn is_theirs(&self, item: &ItemImpl) -> bool {
        let mut mentions = Mentions::new(&self.scope, self.facts);
        mentions.visit_type(&item.self_ty);
        !mentions.found.is_empty()
    }

    /// What an implementation without a trait makes public.
    fn own(&mut self, of: &str, item: &ItemImpl) {
        for inner in &item.items {
            match inner {
                syn::ImplItem::Fn(inner) if open(&inner.vis, &inner.attrs) => {
                    self.look(&format!("{of}::{}", inner.sig.ident), |at| at.visit_signature(&inner.sig));
                }
                syn::ImplItem::Const(inner) if open(&inner.vis, &inner.attrs) => {
                    self.look(&format!("{of}::{}", inner.ident), |at| at.visit_type(&inner.ty));
                }
                _ => {}
            }
        }
    }

    /// What an import gives to others; and imports of everything, behind which a name could not be seen.
    fn passed_on(&mut self, item: &syn::ItemUse) {
        let is_public = is_public(&item.vis);
        for import in imports(&item.tree) {
            if is_foreign(&import.path) && (is_public || import.name == "*") {
                let shown = import.path.join("::");
                self.leaks.push(Leak { line: import.line, place: "use".to_owned(), shown });
            }
        }
    }
}

/// The last names of all paths in a type: `Vec<a::B>` has `Vec` and `B`.
fn last_names(at: impl FnOnce(&mut LastNames)) -> Vec<String> {
    let mut names = LastNames(Vec::new());
    at(&mut names);
    names.0
}

struct LastNames(Vec<String>);

impl<'ast> Visit<'ast> for LastNames {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.extend(path.segments.last().map(|part| part.ident.to_string()));
        syn::visit::visit_path(self, path);
    }
}

fn open(vis: &syn::Visibility, attributes: &[Attribute]) -> bool {
    is_public(vis) && !is_test(attributes)
}

/// `#[cfg(test)]`, and nothing more complicated: what else is switched on by a feature is public with it.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}
