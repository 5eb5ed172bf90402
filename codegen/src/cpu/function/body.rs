//! Statements: control flow as blocks. Locals are Cranelift's variables, which make the SSA form; values of the function
//! are values of the CLIF, because they are defined in the block of their uses or one around it.

use super::frame::Emitter;
use crate::cpu::CompileError;
use crate::function::{Block as Statements, MOST_ROUNDS, Stmt, Value as Id};
use cranelift::prelude::*;

/// Where the jumps of a loop go.
#[derive(Clone, Copy)]
struct Targets {
    on_continue: Block,
    on_break: Block,
}

impl Emitter<'_, '_> {
    /// The body of a row, whose every path ends.
    pub(super) fn block(&mut self, block: &Statements) -> Result<(), CompileError> {
        if self.statements(block, None)? {
            return Err(CompileError::Backend("the end of a function's body is reached".to_owned()));
        }
        Ok(())
    }

    /// Writes statements; says whether their end is reached.
    fn statements(&mut self, block: &Statements, targets: Option<Targets>) -> Result<bool, CompileError> {
        for stmt in &block.0 {
            match stmt {
                Stmt::Let(value, op, args) => {
                    let result = self.operation(*value, op, args)?;
                    self.values[value.0 as usize] = Some(result);
                }
                Stmt::Set(local, value) => {
                    let value = self.value(*value)?;
                    self.set_local(local.0 as usize, value);
                }
                Stmt::If { cond, then, otherwise } => {
                    if !self.branch(*cond, (then, otherwise), targets)? {
                        return Ok(false);
                    }
                }
                Stmt::While { head, cond, body, step } => self.repeat(stmt, head, *cond, (body, step))?,
                Stmt::Break | Stmt::Continue => {
                    let targets =
                        targets.ok_or_else(|| CompileError::Backend("a jump outside loops".to_owned()))?;
                    let to = if *stmt == Stmt::Break { targets.on_break } else { targets.on_continue };
                    self.b.ins().jump(to, &[]);
                    return Ok(false);
                }
                Stmt::Return(value) => {
                    let value = self.value(*value)?;
                    self.end_with(value)?;
                    return Ok(false);
                }
                Stmt::Bail => {
                    self.b.ins().jump(self.bail, &[]);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn branch(
        &mut self,
        cond: Id,
        (then, otherwise): (&Statements, &Statements),
        targets: Option<Targets>,
    ) -> Result<bool, CompileError> {
        let cond = self.value(cond)?.data;
        let [yes, no, after] = std::array::from_fn(|_| self.b.create_block());
        self.b.ins().brif(cond, yes, &[], no, &[]);
        let mut reached = false;
        for (at, block) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(at);
            self.b.seal_block(at);
            if self.statements(block, targets)? {
                self.b.ins().jump(after, &[]);
                reached = true;
            }
        }
        self.b.seal_block(after);
        if reached {
            self.b.switch_to_block(after);
        }
        Ok(reached)
    }

    fn repeat(
        &mut self,
        stmt: &Stmt,
        head: &Statements,
        cond: Id,
        (body, step): (&Statements, &Statements),
    ) -> Result<(), CompileError> {
        let [start, inside, again, after] = std::array::from_fn(|_| self.b.create_block());
        self.b.ins().jump(start, &[]);
        self.b.switch_to_block(start);
        let targets = Targets { on_continue: again, on_break: after };
        // Verified: no jump of this loop stands in its head or step, and both reach their ends.
        self.statements(head, None)?;
        let cond = self.value(cond)?.data;
        self.b.ins().brif(cond, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        if let Some(rounds) = self.rounds.get(&std::ptr::from_ref(stmt)).copied() {
            let count = self.b.use_var(rounds);
            let count = self.b.ins().iadd_imm_s(count, 1);
            self.b.def_var(rounds, count);
            let many = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, count, i64::from(MOST_ROUNDS));
            self.bail_if(many);
        }
        if self.statements(body, Some(targets))? {
            self.b.ins().jump(again, &[]);
        }
        self.b.switch_to_block(again);
        self.b.seal_block(again);
        if self.statements(step, None)? {
            self.b.ins().jump(start, &[]);
        }
        self.b.seal_block(start);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        Ok(())
    }
}
