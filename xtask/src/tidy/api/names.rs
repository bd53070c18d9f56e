//! What a name in the source means.

use std::collections::{BTreeMap, BTreeSet};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

/// Crates whose types are nobody's business but ours.
const FOREIGN: [&str; 13] = [
    "bollard",
    "bollard_stubs",
    "http",
    "http_body",
    "http_body_util",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "rustls_pki_types",
    "tar",
    "tokio_rustls",
    "tower",
];

pub(super) fn is_foreign(path: &[String]) -> bool {
    path.first().is_some_and(|root| FOREIGN.contains(&root.as_str()))
}

/// The imports of one module.
#[derive(Debug, Default)]
pub(super) struct Imports {
    names: BTreeMap<String, Vec<String>>,
}

/// One leaf of a `use`.
#[derive(Debug)]
pub(super) struct Import {
    /// `*` for everything.
    pub(super) name: String,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

impl Imports {
    pub(super) fn of(items: &[Item]) -> Self {
        let uses = items.iter().filter_map(|item| if let Item::Use(item) = item { Some(item) } else { None });
        let leaves = uses.flat_map(|item| imports(&item.tree));
        Self { names: leaves.map(|import| (import.name, import.path)).collect() }
    }

    /// The whole path of what a path means, as far as this module's imports tell.
    pub(super) fn resolve(&self, path: &syn::Path) -> Vec<String> {
        let segments: Vec<String> = path.segments.iter().map(|part| plain(&part.ident)).collect();
        let Some((first, rest)) = segments.split_first() else { return segments };
        // `::http` is a crate, whatever was imported under that name.
        match self.names.get(first).filter(|_| path.leading_colon.is_none()) {
            Some(full) => full.iter().chain(rest).cloned().collect(),
            None => segments,
        }
    }
}

pub(super) fn imports(tree: &UseTree) -> Vec<Import> {
    fn walk(tree: &UseTree, before: &[String], found: &mut Vec<Import>) {
        let below = |ident: &syn::Ident| [before, &[plain(ident)]].concat();
        match tree {
            UseTree::Path(part) => walk(&part.tree, &below(&part.ident), found),
            // `use a::b::{self}` is `use a::b`.
            UseTree::Name(leaf) if leaf.ident == "self" => {
                let name = before.last().cloned().unwrap_or_default();
                found.push(Import { name, path: before.to_vec(), line: line(&leaf.ident) });
            }
            UseTree::Name(leaf) => {
                let name = plain(&leaf.ident);
                found.push(Import { name, path: below(&leaf.ident), line: line(&leaf.ident) });
            }
            UseTree::Rename(leaf) => {
                let path = if leaf.ident == "self" { before.to_vec() } else { below(&leaf.ident) };
                found.push(Import { name: plain(&leaf.rename), path, line: line(&leaf.ident) });
            }
            UseTree::Glob(all) => {
                let path = [before, &["*".to_owned()]].concat();
                found.push(Import { name: "*".to_owned(), path, line: line(&all.star_token) });
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, before, found)),
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

/// Without the mark of a raw identifier.
fn plain(ident: &syn::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

pub(super) fn line(token: &impl Spanned) -> usize {
    token.span().start().line
}

/// What a crate names for itself.
#[derive(Debug, Default)]
pub(super) struct Crate {
    /// Types and traits that are `pub`.
    pub(super) public: BTreeSet<String>,
    /// Traits that are not: what implements them is nobody's business.
    pub(super) private_traits: BTreeSet<String>,
    /// Other names for foreign types: aliases, and imports that are passed on inside the crate. With what they mean.
    other_names: BTreeMap<String, String>,
}

impl Crate {
    pub(super) fn of(files: &[(&str, syn::File)]) -> Self {
        let mut facts = Self::default();
        // An alias may stand before what it is made of, so this goes on until nothing new is found.
        loop {
            let known = facts.other_names.len();
            for (_, file) in files {
                facts.learn(&file.items);
            }
            if facts.other_names.len() == known {
                return facts;
            }
        }
    }

    fn learn(&mut self, items: &[Item]) {
        let scope = Imports::of(items);
        for item in items {
            match item {
                Item::Struct(item) => self.name(&item.vis, &item.ident),
                Item::Enum(item) => self.name(&item.vis, &item.ident),
                Item::Union(item) => self.name(&item.vis, &item.ident),
                Item::Trait(item) => {
                    self.name(&item.vis, &item.ident);
                    if !is_public(&item.vis) {
                        self.private_traits.insert(plain(&item.ident));
                    }
                }
                Item::Type(item) => {
                    self.name(&item.vis, &item.ident);
                    let mut mentioned = Mentions::new(&scope, self);
                    mentioned.visit_type(&item.ty);
                    if let Some((_, shown)) = mentioned.found.into_iter().next() {
                        self.other_names.insert(plain(&item.ident), shown);
                    }
                }
                Item::Use(item) if matches!(item.vis, Visibility::Restricted(_)) => {
                    for import in imports(&item.tree).into_iter().filter(|import| is_foreign(&import.path)) {
                        self.other_names.insert(import.name, import.path.join("::"));
                    }
                }
                Item::Mod(item) => {
                    if let Some((_, items)) = &item.content {
                        self.learn(items);
                    }
                }
                _ => {}
            }
        }
    }

    fn name(&mut self, vis: &Visibility, ident: &syn::Ident) {
        if is_public(vis) {
            self.public.insert(plain(ident));
        }
    }
}

pub(super) fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

/// The foreign types that a piece of a signature mentions, with their lines.
pub(super) struct Mentions<'a> {
    scope: &'a Imports,
    facts: &'a Crate,
    pub(super) found: Vec<(usize, String)>,
}

impl<'a> Mentions<'a> {
    pub(super) fn new(scope: &'a Imports, facts: &'a Crate) -> Self {
        Self { scope, facts, found: Vec::new() }
    }

    fn shown(&self, path: &syn::Path) -> Option<String> {
        let full = self.scope.resolve(path);
        if is_foreign(&full) {
            return Some(full.join("::"));
        }
        // Only a name of this crate: alone, or from its root.
        let is_ours = full.len() == 1
            || full.first().is_some_and(|root| matches!(root.as_str(), "crate" | "super" | "self"));
        let last = full.last().filter(|_| is_ours)?;
        self.facts.other_names.get(last).map(|means| format!("{last} ({means})"))
    }
}

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(shown) = self.shown(path) {
            self.found.push((line(path), shown));
        }
        visit::visit_path(self, path);
    }

    // Neither is a part of a signature.
    fn visit_expr(&mut self, _: &'ast syn::Expr) {}
    fn visit_block(&mut self, _: &'ast syn::Block) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}
