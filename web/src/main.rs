//! web
fn main(){}
