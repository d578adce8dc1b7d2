/** Links by which anybody sees one run: made, copied and taken back here. */
import { useEffect, useRef, useState } from "preact/hooks";
import { base, type Share } from "../api";
import { ago, moment, span } from "../format";
import { type Context, Problem, Sure, useAction, useRead } from "../parts";

interface Run {
  at: Context;
  agent: string;
  run: string;
}

export function ShareButton({ label = "Share", ...run }: Run & { label?: string }) {
  const [open, setOpen] = useState(false);
  if (!run.at.client.sharing) return null;
  return (
    <>
      <button type="button" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        {label}
      </button>
      {open && <Links {...run} close={() => setOpen(false)} />}
    </>
  );
}

const hour = 3600;
const lives: [seconds: number, words: string][] = [
  [hour, "an hour"],
  [8 * hour, "8 hours"],
  [24 * hour, "a day"],
  [7 * 24 * hour, "a week"],
  [30 * 24 * hour, "30 days"],
];

function Links({ at, agent, run, close }: Run & { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const [links, unread, again] = useRead(() => at.client.shares(), run);
  const [url, setUrl] = useState("");
  const mine = links?.shares.filter((s) => s.run === run) ?? [];
  return (
    <dialog ref={dialog} class="share" onClose={close} aria-label="Share this run">
      <h2>Share this run</h2>
      <p>
        Whoever opens the link sees what this run of {agent} prints, live and afterwards, and nothing else of the town.
        It is for watching only. Secrets that it prints are shown too.
      </p>
      {links?.longestSeconds === 0 && <p>Nothing is shared here: TOWND_SHARE_HOURS is 0.</p>}
      {links && links.longestSeconds > 0 && (
        <Make
          most={links.longestSeconds}
          make={async (seconds) => {
            const made = await at.client.share(agent, run, seconds);
            setUrl(new URL(made.url.replace(/^\//, "./"), base).href);
            again();
          }}
        />
      )}
      {url && <Link key={url} url={url} />}
      <Problem text={unread} />
      {mine.length > 0 && (
        <ul class="lines" aria-label="Links of this run">
          {mine.map((s) => (
            <Made key={s.id} share={s} remove={() => at.client.unshare(s.id).then(again)} />
          ))}
        </ul>
      )}
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}

function Make({ most, make }: { most: number; make: (seconds: number) => Promise<void> }) {
  const offered = lives.filter(([seconds]) => seconds <= most);
  if (offered.at(-1)?.[0] !== most) offered.push([most, span(most * 1000)]);
  const [seconds, setSeconds] = useState(offered[0]?.[0] ?? most);
  const [busy, problem, act] = useAction();
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        act(() => make(seconds));
      }}
    >
      <div class="row wrap">
        <label>
          For{" "}
          <select value={String(seconds)} onChange={(e) => setSeconds(Number(e.currentTarget.value))}>
            {offered.map(([value, words]) => (
              <option key={value} value={value}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" disabled={busy}>
          Make a link
        </button>
      </div>
      <Problem text={problem} />
    </form>
  );
}

function Link({ url }: { url: string }) {
  const field = useRef<HTMLInputElement>(null);
  const [said, setSaid] = useState("It is shown only now: the town keeps a hash of it.");
  useEffect(() => field.current?.select(), []);
  const copy = async () => {
    field.current?.select();
    try {
      await navigator.clipboard.writeText(url); // not there on plain http
      setSaid("It is copied.");
    } catch {
      setSaid("Copy it with Ctrl+C.");
    }
  };
  return (
    <div>
      <div class="row">
        <input ref={field} class="grow mono" readonly aria-label="The link" value={url} />
        <button type="button" onClick={copy}>
          Copy
        </button>
      </div>
      <p class="faint" role="status">
        {said}
      </p>
    </div>
  );
}

function Made({ share, remove }: { share: Share; remove: () => Promise<unknown> }) {
  const [busy, problem, act] = useAction();
  return (
    <li>
      <div class="row wrap">
        <span class="grow">
          until {moment(share.expiresAt)} <span class="faint">made {ago(share.createdAt)}</span>
        </span>
        <Sure label="Take back" sure="Take it back, really" busy={busy} act={() => act(remove)} />
      </div>
      <Problem text={problem} />
    </li>
  );
}
