/** The frame around the views: who is signed in, where they are, what they hear, and the keys. */
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type About, ApiError, about, Client } from "./api";
import { useKeys } from "./keys";
import { Colours, type Context, Empty } from "./parts";
import { type Route, to, useRoute } from "./route";
import { drop, held, hold, savedTheme, setTheme } from "./session";
import { Town, useTown } from "./town";
import { AgentView } from "./views/agent";
import { BeadView } from "./views/bead";
import { Board } from "./views/beads";
import { HealthView } from "./views/health";
import { Help } from "./views/help";
import { Inbox } from "./views/inbox";
import { Merges } from "./views/merges";
import { Shared } from "./views/shared";
import { SignIn } from "./views/signin";
import { TownView } from "./views/town";
import { Towns } from "./views/towns";

/** Where Cloudflare Access, which let the person in, lets them out. */
const accessLogout = "/cdn-cgi/access/logout";

export function App() {
  const route = useRoute();
  useEffect(() => setTheme(savedTheme()), []);
  if (route.view === "shared") return <Shared key={route.id} token={route.id} />;
  return <Person />;
}

/** The page of a person, who signs in first. */
function Person() {
  const [known, setKnown] = useState<About | null>(null);
  const [token, setToken] = useState(held);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let timer = 0;
    const ask = () =>
      about()
        .then((a) => {
          setKnown(a);
          setProblem("");
        })
        .catch(() => {
          setProblem("The town does not answer. Trying again…");
          timer = window.setTimeout(ask, 2000);
        });
    void ask();
    return () => clearTimeout(timer);
  }, []);
  const signOut = useCallback((why: string) => {
    drop();
    setToken("");
    setProblem(why);
  }, []);
  const signedIn = known?.signedIn ?? false;
  const refused = useCallback(() => {
    setKnown((a) => a && { ...a, signedIn: false });
    signOut(signedIn ? "Your sign-in is over: load this page again." : "The token is not, or no longer, this town's.");
  }, [signedIn, signOut]);
  const client = useMemo(
    () => (known && (token || signedIn) ? new Client(known, signedIn ? "" : token, refused) : null),
    [known, token, signedIn, refused],
  );
  if (!known) return <main class="alone">{problem && <p role="alert">{problem}</p>}</main>;
  if (!client) {
    const enter = async (value: string) => {
      try {
        await new Client(known, value, () => undefined).enter();
      } catch (err) {
        throw err instanceof ApiError && err.status === 401 ? new Error("That is not this town's token.") : err;
      }
      hold(value);
      setProblem("");
      setToken(value);
    };
    return <SignIn town={known.townId || "Towns"} problem={problem} enter={enter} />;
  }
  const leave = () => (signedIn ? location.assign(accessLogout) : signOut(""));
  if (!known.townId) return <Towns client={client} signOut={leave} />;
  return <Frame known={known} client={client} signOut={leave} />;
}

const places = [
  ["town", "Town"],
  ["beads", "Beads"],
  ["merges", "Merges"],
  ["inbox", "Inbox"],
  ["health", "Health"],
] as const;

function Frame({ known, client, signOut }: { known: About; client: Client; signOut: () => void }) {
  const route = useRoute();
  const [said, setSaid] = useState("");
  const [help, setHelp] = useState(false);
  const town = useMemo(() => new Town(client, known.hall), [client, known.hall]);
  useEffect(() => town.start(), [town]);
  const at = useMemo<Context>(() => ({ client, town, say: setSaid }), [client, town]);
  const main = useRef<HTMLElement>(null);
  useKeys(() => setHelp(true));
  // A new place is read from its top, and by those who listen from its beginning.
  // biome-ignore lint/correctness/useExhaustiveDependencies: of another place, not of anything else
  useEffect(() => {
    document.title = `${route.id || (places.find(([view]) => view === route.view)?.[1] ?? "Town")} · ${known.townId}`;
    main.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [route.view, route.id]);
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(""), 6000);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <>
      <a class="skip" href={location.hash || "#/town"} onClick={() => main.current?.focus()}>
        To the content
      </a>
      <Nav known={known} town={town} route={route} signOut={signOut} help={() => setHelp(true)} />
      <Old town={town} />
      <main ref={main} tabIndex={-1}>
        <View at={at} route={route} hall={known.hall} />
      </main>
      <div class={`said ${said ? "on" : ""}`} role="status" aria-live="polite">
        {said}
      </div>
      <Calls town={town} />
      {help && <Help close={() => setHelp(false)} />}
    </>
  );
}

function View({ at, route, hall }: { at: Context; route: Route; hall: boolean }) {
  if (route.view === "agents" && route.id) return <AgentView at={at} id={route.id} tab={route.tab} />;
  if (route.view === "health") return <HealthView at={at} />;
  if (route.view === "town" || route.view === "agents") return <TownView at={at} />;
  if (!hall)
    return (
      <Empty title="The coordinator of this town is elsewhere.">
        <p>Its beads, merges and mail are shown there. Agents and health are here.</p>
      </Empty>
    );
  if (route.view === "beads")
    return route.id ? <BeadView key={route.id} at={at} id={route.id} /> : <Board at={at} route={route} />;
  if (route.view === "merges") return <Merges at={at} />;
  if (route.view === "inbox") return <Inbox at={at} />;
  return (
    <Empty title="There is no such page.">
      <a href="#/town">To the town</a>
    </Empty>
  );
}

interface NavProps {
  known: About;
  town: Town;
  route: Route;
  signOut: () => void;
  help: () => void;
}

function Nav({ known, town, route, signOut, help }: NavProps) {
  const { status } = useTown(town);
  const waiting =
    (status?.questions.length ?? 0) + (status?.escalations.filter((e) => e.status === "open").length ?? 0);
  const here = route.view === "agents" ? "town" : route.view;
  return (
    <header class="top">
      {known.towns && (
        <a class="brand back" href={known.towns} aria-label="All towns">
          ‹
        </a>
      )}
      <a class="brand" href="#/town">
        {known.townId}
      </a>
      <nav aria-label="Places">
        {places.map(([view, title]) => (
          <a key={view} href={to(view)} aria-current={here === view ? "page" : undefined}>
            {title}
            {view === "inbox" && waiting > 0 && (
              <span class="badge">
                {waiting}
                <span class="hidden"> waiting</span>
              </span>
            )}
          </a>
        ))}
      </nav>
      <span class="grow" />
      <button type="button" class="quiet" onClick={help} aria-label="Help and keys">
        ?
      </button>
      <Colours />
      <button type="button" class="quiet" onClick={signOut}>
        Sign out
      </button>
    </header>
  );
}

/** Says that what is shown is old; it lies over the page, which does not move for it. */
function Old({ town }: { town: Town }) {
  const { problem } = useTown(town);
  return (
    <div class={`old ${problem ? "on" : ""}`} role="status">
      {problem}
    </div>
  );
}

/** Tells those who listen what begins to need them. */
function Calls({ town }: { town: Town }) {
  const { status } = useTown(town);
  const known = useRef<Set<string> | null>(null);
  const [text, setText] = useState("");
  useEffect(() => {
    if (!status) return;
    const now = new Map<string, string>();
    for (const q of status.questions) now.set(q.id, `${q.agentId} asks: ${q.question}`);
    for (const e of status.escalations) now.set(`${e.id} ${e.raises ?? 0}`, `Escalation: ${e.title}`);
    const fresh = [...now].filter(([id]) => known.current && !known.current.has(id)).map(([, words]) => words);
    known.current = new Set(now.keys());
    if (fresh.length > 0) setText(fresh.join(". ").slice(0, 300));
  }, [status]);
  return (
    <div class="hidden" role="status" aria-live="polite">
      {text}
    </div>
  );
}
