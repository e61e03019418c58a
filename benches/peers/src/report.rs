//! The tables, as Markdown.
pub(crate) fn text(r: &crate::results::Results) -> String { 
    use std::fmt::Write;
    let mut m: std::collections::BTreeMap<(String,String,String),Vec<f64>> = Default::default();
    for x in &r.rows { if x.dropped.is_none() { if let Some(v)=x.value { m.entry((x.question.clone(),x.case.clone(),x.who.clone())).or_default().push(v);} } }
    let mut s=String::new();
    for (k,mut v) in m { let _=writeln!(s,"{k:?} {:.3}", crate::stats::median(&mut v)); }
    s
}
