/** All towns of a server that has several. */
import { useEffect } from "preact/hooks";
import type { Client } from "../api";
import { Problem, useRead } from "../parts";

const address = (id: string) => `towns/${encodeURIComponent(id)}/`;

/** The list of the towns; of one alone, its page at once. */
export function Towns({ client, signOut }: { client: Client; signOut: () => void }) {
  const [towns, problem] = useRead(() => client.towns(), "", 0);
  const only = towns?.length === 1 ? towns[0] : undefined;
  useEffect(() => {
    document.title = "Towns";
    if (only) location.replace(address(only));
  }, [only]);
  return (
    <main class="alone">
      <div class="panel">
        <div class="bar">
          <h1 class="grow">Towns</h1>
          <button type="button" class="quiet" onClick={signOut}>
            Sign out
          </button>
        </div>
        <Problem text={problem} />
        <ul class="lines">
          {towns?.map((id) => (
            <li key={id}>
              <a class="strong" href={address(id)}>
                {id}
              </a>
            </li>
          ))}
        </ul>
      </div>
    </main>
  );
}
