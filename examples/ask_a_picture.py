"""Ask the shipped model about a drawn picture, and look at what the search dropped."""

from stepsight import ask
from stepsight.world.split import draw_split

drawn = next(draw_split("test", seed=5, count=1))
answer = ask(drawn.picture, drawn.question.text, choices=drawn.question.choices, search="stage-beam", width=3)

print(drawn.question.text)
for stage, text in answer.stages.items():
    print(f"{stage.value:>10}  {text}")
print(f"     truth  {drawn.question.answer}")
for candidate in answer.trace.candidates:
    if candidate.id not in answer.trace.chosen:
        print(f"   dropped  {candidate.piece.text.strip()}")
