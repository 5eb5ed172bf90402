//! Loops: `while`, `for`, and what a comprehension goes through.

use crate::python_udf::build::Item;
use crate::python_udf::names::{assigned, assigned_in, jumps};
use crate::python_udf::sym::{Env, R, Seq, Sym};
use crate::python_udf::translate::{Flow, Returning, Translator, Truth};
use fuseline_codegen::function::{Compare, Op, Stmt as Out, Type};
use ruff_python_ast::{StmtFor, StmtWhile};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Constants up to this many are read one after the other instead of in a loop.
const UNROLLED: usize = 24;

/// What is done with an item.
pub type Each<'e> = &'e mut dyn FnMut(&mut Translator, &Sym) -> R<Flow>;

impl Translator {
    pub fn while_loop(&mut self, s: &StmtWhile) -> R<Flow> {
        let mut names = BTreeSet::new();
        assigned(&s.body, &mut names);
        assigned_in(&s.test, &mut names);
        let own = jumps(&s.body);
        let before = self.build.hole();
        let mut endless = false;
        let looping = self.looped(&names, &mut |t| {
            t.flag_breaks(own.breaks && !s.orelse.is_empty())?;
            t.build.open();
            let head = (|| {
                t.load_loop()?;
                t.cond(&s.test)
            })();
            let (cond, head) = t.closed(head)?;
            t.build.open();
            let body = (|| {
                t.narrow(&s.test, true)?;
                if t.block(&s.body)? == Flow::Falls {
                    t.store_loop()?;
                }
                Ok(())
            })();
            let ((), body) = t.closed(body)?;
            endless = matches!(cond, Truth::Known(true));
            if matches!(cond, Truth::Known(false)) {
                return Ok(());
            }
            t.build.open();
            t.build.splice(head);
            let cond = t.truth_sym(cond)?;
            let cond = t.plain(&cond)?;
            let head = t.build.close();
            t.build.push(Item::While { head, cond, body, step: vec![] });
            t.leave_if_returned()
        })?;
        if endless && !own.breaks {
            // Only `return` leads out.
            return Ok(self.bail());
        }
        self.after_loop(looping, endless, before, &s.orelse)
    }

    /// A flag that tells whether the source broke, if it has an `else` for that.
    fn flag_breaks(&mut self, wanted: bool) -> R<()> {
        if wanted {
            let flag = self.build.local(Type::BOOL);
            let no = self.op(Op::Bool(false), vec![])?;
            self.build.plain(Out::Set(flag, no));
            self.looping().broke = Some(flag);
        }
        Ok(())
    }

    /// Binds what the loop left, and reads its `else`.
    fn after_loop(
        &mut self,
        looping: crate::python_udf::flow::Looping,
        endless: bool,
        before: crate::python_udf::build::Hole,
        orelse: &[ruff_python_ast::Stmt],
    ) -> R<Flow> {
        self.load_slots(&looping.slots)?;
        // Names that only the loop binds are bound behind it if nothing but `break` leads there.
        let leads = endless || matches!(self.quiet_ends(orelse), Some(true));
        let mut only: Vec<(Rc<str>, Sym)> = vec![];
        if leads && !looping.breaks.is_empty() {
            let names: BTreeSet<Rc<str>> =
                looping.breaks.iter().flat_map(|(e, _)| e.keys().cloned()).collect();
            for name in names {
                if self.env.contains_key(&name) {
                    continue;
                }
                let paths: Vec<(Sym, crate::python_udf::build::Hole)> = looping
                    .breaks
                    .iter()
                    .filter_map(|(env, hole)| Some((env.get(&name)?.clone(), *hole)))
                    .collect();
                if paths.len() == looping.breaks.len() {
                    let sym = self.meet_behind(&name, &paths, before)?;
                    only.push((name, sym));
                }
            }
        }
        let Some(broke) = looping.broke.filter(|_| !orelse.is_empty()) else {
            self.env.extend(only);
            return if orelse.is_empty() || endless { Ok(Flow::Falls) } else { self.block(orelse) };
        };
        let broke = self.op(Op::Get(broke), vec![])?;
        let parted: Env = self.env.clone();
        self.build.open();
        self.env.extend(only);
        let bound = std::mem::replace(&mut self.env, parted.clone());
        let then = self.build.close();
        self.build.open();
        let flow = self.block(orelse);
        let (flow, otherwise) = self.closed(flow)?;
        match flow {
            Flow::Ends => {
                self.build.push(Item::If { cond: broke, then, otherwise });
                self.env = bound;
                Ok(Flow::Falls)
            }
            Flow::Falls => {
                let env = self.env.clone();
                let (then, a) = self.with_hole(then);
                let (otherwise, b) = self.with_hole(otherwise);
                self.build.push(Item::If { cond: broke, then, otherwise });
                self.merge(&parted, vec![(parted.clone(), a), (env, b)])?;
                Ok(Flow::Falls)
            }
        }
    }

    /// Whether statements end by their form, which is known before they are read.
    fn quiet_ends(&self, stmts: &[ruff_python_ast::Stmt]) -> Option<bool> {
        use ruff_python_ast::Stmt;
        stmts.last().map(|s| matches!(s, Stmt::Return(_) | Stmt::Raise(_)))
    }

    pub fn leave_loop(&mut self) -> R<Flow> {
        self.store_loop()?;
        let hole = self.build.hole();
        let env = self.env.clone();
        let looping = self.looping();
        looping.breaks.push((env, hole));
        if let Some(broke) = looping.broke {
            let yes = self.op(Op::Bool(true), vec![])?;
            self.build.plain(Out::Set(broke, yes));
        }
        self.build.plain(Out::Break);
        Ok(Flow::Ends)
    }

    pub fn next_round(&mut self) -> R<Flow> {
        self.store_loop()?;
        let jump = if self.looping().once { Out::Break } else { Out::Continue };
        self.build.plain(jump);
        Ok(Flow::Ends)
    }

    /// Behind a loop in an inlined body: a `return` in it leaves what is around it as well.
    fn leave_if_returned(&mut self) -> R<()> {
        let Returning::Inlined { left: Some(left), .. } = self.frame().returning else { return Ok(()) };
        let cond = self.op(Op::Get(left), vec![])?;
        let then = vec![Item::Plain(Out::Break)];
        self.build.push(Item::If { cond, then, otherwise: vec![] });
        Ok(())
    }

    pub fn for_loop(&mut self, s: &StmtFor) -> R<Flow> {
        if s.is_async {
            return self.no("`async for` is not compiled");
        }
        let over = self.expr(&s.iter)?;
        let over = self.some(&over)?;
        let over = self.sequence(&over)?;
        let mut names = BTreeSet::new();
        assigned(&s.body, &mut names);
        assigned_in(&s.iter, &mut names);
        let mut target = BTreeSet::new();
        crate::python_udf::names::assigned_in(&s.target, &mut target);
        names.extend(target);
        let own = jumps(&s.body);
        let orelse = &s.orelse;
        self.over(&over, &names, own.breaks, own.continues, orelse, &mut |t, item| {
            t.assign(&s.target, item)?;
            t.block(&s.body)
        })
    }

    /// Does something with each item of a sequence.
    pub fn over(
        &mut self,
        seq: &Rc<Seq>,
        names: &BTreeSet<Rc<str>>,
        breaks: bool,
        continues: bool,
        orelse: &[ruff_python_ast::Stmt],
        each: Each<'_>,
    ) -> R<Flow> {
        if let Some(length) = self.static_len(seq)
            && length <= UNROLLED
        {
            return if breaks || continues {
                self.unrolled_with_jumps(seq, length, names, breaks, orelse, each)
            } else {
                for i in 0..length {
                    let item = self.seq_item(seq, &Sym::Int(i as i64))?;
                    if each(self, &item)? == Flow::Ends {
                        return Ok(Flow::Ends);
                    }
                }
                self.block(orelse)
            };
        }
        let before = self.build.hole();
        // The bounds are computed once, before the loop.
        let (start, stop, step) = match &**seq {
            Seq::Range { start, stop, step } => (start.clone(), stop.clone(), *step),
            _ => (Sym::Int(0), self.seq_len(seq)?, 1),
        };
        let start = self.plain(&start)?;
        let stop = self.plain(&stop)?;
        let seq = self.hoisted(seq)?;
        let looping = self.looped(names, &mut |t| {
            t.flag_breaks(breaks && !orelse.is_empty())?;
            let counter = t.build.local(Type::INT);
            t.build.plain(Out::Set(counter, start));
            t.build.open();
            let head = (|| {
                t.load_loop()?;
                let at = t.op(Op::Get(counter), vec![])?;
                let test = if step > 0 { Compare::Lt } else { Compare::Gt };
                Ok((at, t.op(Op::Cmp(test), vec![at, stop])?))
            })();
            let ((at, cond), head) = t.closed(head)?;
            t.build.open();
            let body = (|| {
                let at = Sym::Val(at, Type::INT);
                let item = match &*seq {
                    Seq::Range { .. } => at,
                    _ => t.seq_at(&seq, &at)?,
                };
                if each(t, &item)? == Flow::Falls {
                    t.store_loop()?;
                }
                Ok(())
            })();
            let ((), body) = t.closed(body)?;
            t.build.open();
            let by = t.op(Op::Int(step), vec![])?;
            let next = t.op(Op::Add, vec![at, by])?;
            t.build.plain(Out::Set(counter, next));
            let step = t.build.close();
            t.build.push(Item::While { head, cond, body, step });
            t.leave_if_returned()
        })?;
        self.after_loop(looping, false, before, orelse)
    }

    /// Items one after the other, in loops that go round once, which jumps leave.
    fn unrolled_with_jumps(
        &mut self,
        seq: &Rc<Seq>,
        length: usize,
        names: &BTreeSet<Rc<str>>,
        breaks: bool,
        orelse: &[ruff_python_ast::Stmt],
        each: Each<'_>,
    ) -> R<Flow> {
        let before = self.build.hole();
        let looping = self.looped(names, &mut |t| {
            t.looping().once = true;
            t.flag_breaks(breaks)?;
            t.build.open();
            // What one iteration finds out is not seen in the next one.
            let start = t.env.clone();
            let outer = (|| {
                for i in 0..length {
                    t.env = start.clone();
                    t.build.open();
                    let body = (|| {
                        t.load_loop()?;
                        let item = t.seq_item(seq, &Sym::Int(i as i64))?;
                        if each(t, &item)? == Flow::Falls {
                            t.store_loop()?;
                            t.build.plain(Out::Break);
                        }
                        Ok(())
                    })();
                    let ((), body) = t.closed(body)?;
                    t.once(body)?;
                    t.leave_if_returned()?;
                    if let Some(broke) = t.looping().broke {
                        let cond = t.op(Op::Get(broke), vec![])?;
                        let then = vec![Item::Plain(Out::Break)];
                        t.build.push(Item::If { cond, then, otherwise: vec![] });
                    }
                }
                t.build.plain(Out::Break);
                Ok(())
            })();
            let ((), outer) = t.closed(outer)?;
            t.once(outer)?;
            t.leave_if_returned()
        })?;
        self.after_loop(looping, false, before, orelse)
    }

    /// A loop that goes round once: its body ends in a break.
    pub fn once(&mut self, body: Vec<Item>) -> R<()> {
        self.build.open();
        let cond = self.op(Op::Bool(true), vec![])?;
        let head = self.build.close();
        self.build.push(Item::While { head, cond, body, step: vec![] });
        Ok(())
    }
}
