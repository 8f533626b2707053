"""Learn from the log: which words fail, what the documents say instead, and whether knowing it helps. Introduced in 20_log."""

from __future__ import annotations

WORDINGS = """
product.price: What's the damage for {e}? | How many bucks is {e}? | What would {e} set me back?
product.warranty: How long do we fix {e} for nothing if it breaks? | If my {n} packs up, how long am I safe? | Until when can I bring back a broken {n}?
product.weight: How many kilos is {e}? | Is {e} a lump to carry around? | What does {e} tip the scales at?
product.battery: How long until {e} runs out of juice? | How long can I use {e} without plugging it in? | How much runtime do I get from {e}?
product.lead: Who's the boss of {e}? | Which guy do I bug about {e}? | Who calls the shots on {e}?
product.code: What does {e} flash up when its juice is nearly gone? | Which message does {e} give me if it's almost flat? | What's the dying signal of {e}?
product.finish: What shade is {e}? | How does {e} look from outside? | What's the livery of {e}?
product.launch: When did {e} come out? | When's the birthday of {e}? | When did {e} hit the market?
product.site: Which plant churns out {e}? | Where do they put {e} together? | Where does {e} get manufactured?
product.sales_2030: How much dough did {e} make us in 2030? | What did we rake in with {e} in 2030? | What were the takings for {e} in 2030?
product.sales_2031: How much dough did {e} make us in 2031? | What did we rake in with {e} in 2031? | What were the takings for {e} in 2031?
site.manager: Who's the boss at {e}? | Who calls the shots at {e}? | Which guy is the chief at {e}?
site.city: Whereabouts is {e}? | Which municipality is {e} in? | Where on the map is {e}?
site.staff: How many folks work at {e}? | How big is the workforce at {e}? | How many heads does {e} have on its payroll?
site.extension: How do I ring {e}? | What's the landline for {e}? | How do I get {e} on the blower?
site.parking: How many slots for cars are at {e}? | Can I leave my motor at {e}, how many bays are there? | How big is the garage at {e}?
site.opened: When did {e} start up? | When's the birthday of {e}? | How old is {e}, since when is it going?
plan.fee: What's the damage each month for {e}? | How many bucks a month is {e}? | What's the subscription rate for {e}?
plan.response: How long till someone gets back to me on {e}? | How long must I hang on before support wakes up with {e}? | What's the turnaround on {e}?
plan.notice: How long before I can get out of {e}? | How far ahead must I quit {e}? | When can I ditch {e}?
plan.owner: Who's the boss of {e}? | Which guy do I bug about {e}? | Whose baby is {e}?
plan.users: How many logins come with {e}? | How many folks can be on {e}? | How many accounts do I get with {e}?
project.budget: How much cash is in the kitty for {e}? | How much dough has {e} got? | How fat is the wallet of {e}?
project.leader: Who's the boss of {e}? | Who calls the shots on {e}? | Who's the chief of {e}?
project.deadline: When does {e} wrap up? | When do we have to ship {e}? | What's the cutoff for {e}?
project.team: How many folks are on {e}? | How big is the crew of {e}? | How many heads are busy with {e}?
project.base: Where's the hq of {e}? | Where do the folks of {e} hang out? | Whereabouts is {e} run?
project.sponsor: Who's the godfather of {e}? | Which bigwig stands up for {e} on the board? | Who's the patron of {e}?
"""
"""How people ask in their own words, three ways for each attribute. Written before anything was measured, and not changed since."""
