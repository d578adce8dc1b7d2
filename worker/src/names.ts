/** The pool that polecats are named from: short, easy to tell apart by eye and ear, and good as a part of a branch's name. */
const names =
  "amber birch cedar dusty ember fable gizmo hazel indigo jasper koala lemon maple nimbus onyx pepper quartz rusty sable toast umber velvet willow yarrow zephyr".split(
    " ",
  );

/** A name of the pool that is not taken, and one with a number when all are. */
export function pickName(taken: Set<string>): string {
  const first = Math.floor(Math.random() * names.length);
  const turned = [...names.slice(first), ...names.slice(0, first)];
  for (let n = 1; ; n++) {
    const free = turned.map((name) => (n === 1 ? name : name + n)).find((name) => !taken.has(name));
    if (free) {
      return free;
    }
  }
}
