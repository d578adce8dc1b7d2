// Made by npm run types from api/openapi.yaml.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * @description Begins with a letter or digit and holds no "..".
         * @example a1
         */
        Id: string;
        Problem: {
            /** @example about:blank */
            type: string;
            title: string;
            status: number;
            /** @description What is wrong and what would be right. */
            detail: string;
            /** @description The text, for older clients; `Invalid request body` when `issues` tells more. */
            error: string;
            issues?: components["schemas"]["Issue"][];
        };
        Issue: {
            /** @example limits.seconds */
            path: string;
            message: string;
        };
        /** @enum {string} */
        Role: "mayor" | "polecat" | "refinery" | "witness" | "triage";
        /** @enum {string} */
        Status: "starting" | "running" | "stopping" | "exited" | "failed";
        /**
         * @description Why it is no longer running.
         * @enum {string}
         */
        Reason: "done" | "blocked" | "waiting" | "exited" | "stopped" | "killed" | "oom" | "timeout" | "budget" | "auth" | "start_failed" | "crashed";
        /** @enum {string} */
        RestartPolicy: "never" | "on-failure";
        /** @description Bounds of one agent; 0 or absent means unlimited. */
        Limits: {
            /** Format: int64 */
            turns?: number;
            /** @description Wall clock since the start. */
            seconds?: number;
            /** @description Without output. */
            idleSeconds?: number;
            /** Format: int64 */
            tokens?: number;
            costUsd?: number;
            /**
             * Format: int64
             * @description Resident, of the whole tree.
             */
            memoryBytes?: number;
            /** @description In the whole tree. */
            processes?: number;
        };
        StartRequest: {
            agentId: components["schemas"]["Id"];
            rigId: components["schemas"]["Id"];
            townId: components["schemas"]["Id"];
            role: components["schemas"]["Role"];
            name: string;
            identity?: string;
            prompt?: string;
            model?: string;
            gitUrl: string;
            branch: string;
            defaultBranch?: string;
            /** @description Rendered by the town when empty or absent. */
            systemPrompt?: string;
            /** @description Arrive exactly. PATH, HOME, LD_*, GIT_* and TOWND_* are refused. */
            envVars?: {
                [key: string]: string;
            };
            /**
             * @default kilo
             * @example claude
             */
            cli?: string;
            /** @description The program and its arguments, with cli `command`. */
            command?: string[];
            beadId?: string;
            /** @description Ref or commit to branch from; the default branch when absent. */
            startPoint?: string;
            /**
             * Format: int64
             * @default 0
             */
            generation?: number;
            /** @default 120 */
            cols?: number;
            /** @default 40 */
            rows?: number;
            /**
             * @description Go on with the CLI's earlier session of this agent.
             * @default false
             */
            resume?: boolean;
            /**
             * @description With resume: go on in a copy of that session.
             * @default false
             */
            fork?: boolean;
            /**
             * @description How hard the model thinks; the CLI's default when absent.
             * @enum {string}
             */
            effort?: "low" | "medium" | "high" | "xhigh" | "max";
            restart?: components["schemas"]["RestartPolicy"];
            limits?: components["schemas"]["Limits"];
        };
        Agent: {
            agentId: string;
            rigId: string;
            townId: string;
            role: components["schemas"]["Role"];
            name: string;
            beadId?: string;
            cli: string;
            model: string;
            status: components["schemas"]["Status"];
            reason?: components["schemas"]["Reason"];
            /** @description What went wrong, for people. */
            error?: string;
            /** @description Null when no process runs, as between the turns of some CLIs. */
            pid: number | null;
            exitCode: number | null;
            /** @example SIGTERM */
            signal?: string;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            exitedAt: string | null;
            /**
             * Format: date-time
             * @description Last output or input.
             */
            lastActivityAt: string | null;
            workdir: string;
            branch: string;
            runId: string;
            /** @description Of the CLI, for resuming. */
            sessionId?: string;
            turn: components["schemas"]["Turn"];
            usage: components["schemas"]["Usage"];
            resources: components["schemas"]["Resources"];
            /** Format: int64 */
            generation: number;
            restart?: components["schemas"]["RestartState"];
        };
        Turn: {
            /** @enum {string} */
            state: "none" | "working" | "idle";
            /**
             * Format: int64
             * @description Turns begun.
             */
            count: number;
        };
        /** @description Since the start, as the CLI reports it. */
        Usage: {
            /** Format: int64 */
            inputTokens: number;
            /** Format: int64 */
            outputTokens: number;
            /** Format: int64 */
            cacheReadTokens: number;
            /** Format: int64 */
            cacheWriteTokens: number;
            costUsd: number;
            /** Format: int64 */
            toolCalls: number;
        };
        /** @description Of the whole process tree, from the last sample. */
        Resources: {
            /** Format: int64 */
            rssBytes: number;
            /** @description Of one core. */
            cpuPercent: number;
            processes: number;
        };
        RestartState: {
            policy: components["schemas"]["RestartPolicy"];
            count: number;
            /** Format: date-time */
            nextAt?: string;
            parked?: boolean;
        };
        AgentList: {
            agents: components["schemas"]["Agent"][];
        };
        StartResponse: components["schemas"]["Agent"] & {
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        StopRequest: {
            /**
             * @default SIGTERM
             * @enum {string}
             */
            signal?: "" | "SIGTERM" | "SIGKILL";
            /**
             * @description From SIGTERM to SIGKILL.
             * @default 10
             */
            graceSeconds?: number | null;
        };
        StopResponse: {
            /** @enum {boolean} */
            stopped: true;
            agent: components["schemas"]["Agent"];
        };
        MessageRequest: {
            prompt: string;
            /**
             * @default turn-end
             * @enum {string}
             */
            deliver?: "" | "now" | "turn-end" | "idle";
        };
        MessageResponse: {
            /** @enum {boolean} */
            sent: true;
            messageId: string;
        };
        ModelRequest: {
            model: string;
        };
        SystemPromptRequest: {
            systemPrompt: string;
        };
        UpdateResponse: {
            updated: boolean;
        };
        ResizeRequest: {
            cols: number;
            rows: number;
        };
        ResizeResponse: {
            /** @enum {boolean} */
            resized: true;
            cols: number;
            rows: number;
        };
        DeleteResponse: {
            /** @enum {boolean} */
            deleted: true;
        };
        /** @enum {string} */
        TicketMode: "read" | "write";
        TicketRequest: {
            /**
             * @default read
             * @enum {string}
             */
            mode?: "" | "read" | "write";
        };
        TicketResponse: {
            ticket: string;
            /** Format: date-time */
            expiresAt: string;
            /** @description Opens the stream; relative to the address of the server that answered. */
            url: string;
        };
        ShareRequest: {
            /** @description The agent's newest run when empty. */
            run?: string;
            /** @description How long the link lives; as long as the town lets it when 0. */
            seconds?: number;
        };
        Share: {
            id: string;
            agentId: string;
            run: string;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            expiresAt: string;
        };
        ShareMade: {
            id: string;
            agentId: string;
            run: string;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            expiresAt: string;
            /** @description Relative to the address of this API, unless the setting TOWND_PUBLIC_URL names one. */
            url: string;
        };
        ShareList: {
            shares: components["schemas"]["Share"][];
            /** @description That a link may live; 0 when none can be made. */
            longestSeconds: number;
        };
        SharedRun: {
            townId: string;
            agentId: string;
            /** @description Of the agent. */
            name: string;
            run: string;
            /** @description It has no terminal: draw the events. */
            structured: boolean;
            status: components["schemas"]["Status"];
            /**
             * Format: date-time
             * @description Of the link.
             */
            expiresAt: string;
        };
        Event: {
            /**
             * Format: int64
             * @description Grows by one within an epoch.
             */
            id: number;
            /** @enum {string} */
            event: "state" | "session" | "turn.started" | "text" | "thinking" | "tool.call" | "tool.result" | "usage" | "retry" | "error" | "turn.ended" | "message" | "hook" | "budget" | "checkpoint" | "gap";
            /**
             * @description By type: state {status, reason}; session {id}; text and thinking {text}; tool.call {id, name, input};
             *     tool.result {id, ok, output}; usage {inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costUsd};
             *     retry {kind, attempt, delaySeconds}; error {kind, message}; turn.ended {ok, text}; message {messageId,
             *     receipt: queued, delivered, seen or failed}; hook {name, tool, decision, reason}; budget {limit, used, of}; checkpoint {ref, commit, leftOut: [{path, why}],
             *     leftOutCount}, empty ref and commit when all but what was left out is in commits; gap {from}.
             */
            data: Record<string, never>;
            /** Format: date-time */
            timestamp: string;
        };
        EventPage: {
            /** @description Ids of another epoch are not comparable. */
            epoch: string;
            events: components["schemas"]["Event"][];
            /**
             * Format: int64
             * @description The `after` of the next page.
             */
            next: number;
        };
        Health: {
            /** @enum {string} */
            status: "ok" | "degraded" | "draining" | "unhealthy";
            /** @description Starting and running. */
            agents: number;
            /**
             * Format: int64
             * @description Milliseconds.
             */
            uptime: number;
            /** Format: date-time */
            startedAt: string;
            version: string;
            draining: boolean;
            /** @description How agents are kept apart: `uid` or `none`. */
            isolation: string;
            /** @description How their process trees are ended: `uid` or `subreaper`. */
            killRung: string;
            maxAgents: number;
            /** @description What is wrong now. */
            degraded: string[];
            /** @description What may go wrong later, as a home that is not on a real disk. The status is `ok` with them. */
            warnings: string[];
            host?: components["schemas"]["Host"];
            coordinator?: components["schemas"]["Coordinator"];
            /** @description The providers of models, the preferred one first. */
            providers?: components["schemas"]["ModelProvider"][];
            /** @description What the town's own command measured last. */
            quotaProbe?: components["schemas"]["Quota"];
            /** @description Rigs whose repositories were prepared since the server began. */
            rigs?: components["schemas"]["Rig"][];
        };
        /** @description The way to the town's coordinator; absent in a town without one. */
        Coordinator: {
            /** @description Of this container: a new one with each keeper. */
            instanceId: string;
            /**
             * Format: int64
             * @description That the coordinator gave it; 0 before.
             */
            epoch: number;
            /**
             * Format: date-time
             * @description When a heartbeat was answered last.
             */
            reachedAt: string | null;
            /** @description Another container has taken over: agents are stopped here, nothing is reported. */
            replaced: boolean;
            outbox: components["schemas"]["OutboxState"];
        };
        OutboxState: {
            /** Format: int64 */
            pending: number;
            /**
             * Format: int64
             * @description That the coordinator refused for good.
             */
            dead: number;
            /** Format: date-time */
            oldestAt?: string;
        };
        Heartbeat: {
            instanceId: components["schemas"]["Id"];
            /** Format: date-time */
            startedAt?: string;
            /** Format: date-time */
            sentAt?: string;
            /** @description As in Health. */
            status?: string;
            version?: string;
            /** @description Every agent that is not forgotten. */
            agents: components["schemas"]["AgentHeartbeat"][];
            resources?: components["schemas"]["HostResources"];
            outbox?: components["schemas"]["OutboxState"];
            ordersDone?: components["schemas"]["OrderResult"][];
            quota?: components["schemas"]["Quota"];
        };
        /** @description What is left of the limit that a model provider is nearest to. It counts until its reset, 30 minutes at most. */
        Quota: {
            /** @description Absent in what the town's own command measured. */
            provider?: string;
            /** @description Of the limit, as `requests`, `input-tokens`. */
            name: string;
            /** @description That is left. */
            percent: number;
            /**
             * Format: date-time
             * @description Absent when it is not known.
             */
            resetAt?: string;
            /** Format: date-time */
            checkedAt: string;
        };
        AgentHeartbeat: {
            agentId: components["schemas"]["Id"];
            rigId: string;
            beadId?: string;
            role: components["schemas"]["Role"];
            status: components["schemas"]["Status"];
            reason?: components["schemas"]["Reason"];
            runId?: string;
            /** Format: int64 */
            generation: number;
            turn?: components["schemas"]["Turn"];
            /** Format: date-time */
            lastActivityAt?: string;
            lastEventType?: string;
            /** Format: date-time */
            lastEventAt?: string;
            activeTools?: string[];
            /**
             * Format: int64
             * @description Events so far.
             */
            messageCount?: number;
            /**
             * Format: int64
             * @description Id of its newest event.
             */
            cursor?: number;
            usage?: components["schemas"]["Usage"];
            resources?: components["schemas"]["Resources"];
        };
        AgentHeartbeatRequest: {
            agentId?: string;
            rigId?: string;
            townId?: string;
            status?: string;
            /** Format: date-time */
            timestamp?: string;
            lastEventType?: string | null;
            /** Format: date-time */
            lastEventAt?: string | null;
            activeTools?: string[];
            /** Format: int64 */
            messageCount?: number;
            containerInstanceId?: string;
        };
        OrderResult: {
            id: string;
            error?: string;
        };
        HeartbeatReply: {
            /** @enum {boolean} */
            heartbeat: true;
            /**
             * Format: int64
             * @description Of this instance.
             */
            epoch: number;
            orders: components["schemas"]["Order"][];
        };
        /** @description Carried out once, by its id. */
        Order: {
            id: components["schemas"]["Id"];
            /** @enum {string} */
            kind: "stop" | "message" | "forget" | "drain" | "settings";
            agentId?: components["schemas"]["Id"];
            /** @description The body of the call of the control API that the kind stands for. */
            data?: unknown;
        };
        TownStatus: {
            townId: components["schemas"]["Id"];
            /** @description Why nothing is handed out. */
            paused?: string;
            /** @description Below which no agents are started; absent for never. */
            minQuotaPercent?: number;
            /** @description The last that a heartbeat brought. */
            quota?: components["schemas"]["Quota"];
            /** @description While no agents are started because of the quota. */
            standby?: components["schemas"]["Standby"];
            /** @description Null before its first heartbeat. */
            instance: components["schemas"]["InstanceStatus"] | null;
            rigs: components["schemas"]["TownRig"][];
            /** @description How many there are in each status. */
            beads: {
                [key: string]: number;
            };
            /** @description Live ones. */
            agents: components["schemas"]["TownAgent"][];
            /** @description Open; the next first. */
            waiting: components["schemas"]["Bead"][];
            /** @description Not ended. */
            merges: components["schemas"]["Merge"][];
            questions: components["schemas"]["Question"][];
            escalations: components["schemas"]["Escalation"][];
        };
        Standby: {
            /** Format: date-time */
            until: string;
            /** @description For people, as `4 % of claude's requests left`. */
            why: string;
        };
        InstanceStatus: {
            instanceId: string;
            /** Format: int64 */
            epoch: number;
            status: string;
            seenAt: components["schemas"]["Instant"];
            resources: components["schemas"]["HostResources"];
            outbox: components["schemas"]["OutboxState"];
        };
        Rig: {
            rigId: components["schemas"]["Id"];
            /** @enum {string} */
            state: "waiting" | "preparing" | "ready" | "failed";
            /** @description Of its clone, as git names it. */
            phase?: string;
            /** @description Percent of the phase. */
            progress: number;
            /** @description Of a failed one. */
            error?: string;
        };
        ModelProvider: {
            name: string;
            /** @description Why it did not serve when it was last asked, as an `error` event's kind. */
            kind?: string;
            message?: string;
            /**
             * Format: date-time
             * @description It is not asked before then, if another one can serve.
             */
            until?: string;
            /** @description What is left of its limits, as it told last. */
            quota?: components["schemas"]["Quota"];
            cooling?: components["schemas"]["CoolingModel"][];
        };
        /** @description A model that its provider is not asked for before `until`, if another one can serve. */
        CoolingModel: {
            model: string;
            /** Format: date-time */
            until: string;
        };
        /** @description Sampled every 10 seconds; absent until the first sample. */
        Host: {
            cpus: number;
            /** @description Over 1, 5 and 15 minutes. */
            load: number[];
            /** Format: int64 */
            memoryTotalBytes: number;
            /** Format: int64 */
            memoryAvailableBytes: number;
            /**
             * Format: int64
             * @description Of the town's home.
             */
            diskTotalBytes: number;
            /** Format: int64 */
            diskFreeBytes: number;
            /** Format: date-time */
            sampledAt: string;
        };
        Screen: {
            runId: string;
            /**
             * Format: int64
             * @description The bytes that were drawn.
             */
            offset: number;
            cols: number;
            rows: number;
            /** @description Lines separated by newlines, without trailing blanks. */
            text: string;
            /** @description Makes an empty terminal of that size show the same. */
            ansi: string;
            /** @description The screen of full-screen programs. */
            altScreen: boolean;
            /** @description False when the run's beginning is no longer held: modes set there are unknown. */
            exact: boolean;
            title?: string;
            cursor: {
                /** @description From 0. */
                col: number;
                /** @description From 0. */
                row: number;
                visible: boolean;
            };
        };
        Diff: {
            /** @description Commit the worktree started from. */
            base: string;
            head: string;
            files: components["schemas"]["DiffFile"][];
            /** @description One patch against base, with bytes that are not UTF-8 replaced; ask for text/x-diff for the exact one. */
            patch: string;
            truncated: boolean;
        };
        DiffFile: {
            path: string;
            /** @description Of a rename or copy. */
            oldPath?: string;
            /**
             * @description As git names them.
             * @enum {string}
             */
            status: "A" | "M" | "D" | "R" | "C" | "T";
            /** @description Lines. */
            added: number;
            /** @description Lines. */
            deleted: number;
            binary: boolean;
        };
        SetupRequest: {
            rigId: components["schemas"]["Id"];
            gitUrl: string;
            /** @description The remote knows it. */
            defaultBranch?: string;
        };
        SetupResponse: {
            rigId: components["schemas"]["Id"];
            /** @description By this call. */
            cloned: boolean;
            /** @description Of the remote, empty when it names none. */
            defaultBranch: string;
            /** @description At its tip, empty in a repository without commits. */
            commit: string;
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        SyncRequest: {
            /** @description By rig id: RigSettings, of which `git` is used and the rest may be left out. */
            rigs?: {
                [key: string]: {
                    gitUrl?: string;
                    git?: components["schemas"]["GitSettings"];
                };
            };
        };
        SyncResponse: {
            /** @enum {boolean} */
            synced: true;
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        RigSettings: {
            gitUrl: string;
            /** @description The remote's own when empty. */
            defaultBranch?: string;
            cli?: string;
            /** @description With cli command. */
            command?: string[];
            model?: string;
            /** @description Of its agents. */
            envVars?: {
                [key: string]: string;
            };
            /** @description Polecats at once; 5 when 0. */
            maxAgents?: number;
            paused?: boolean;
            limits?: components["schemas"]["Limits"];
            gates?: components["schemas"]["Gate"][];
            merge?: components["schemas"]["MergeSettings"];
            git?: components["schemas"]["GitSettings"];
        };
        TownRig: {
            rigId: components["schemas"]["Id"];
            gitUrl: string;
            /** @description The remote's own when empty. */
            defaultBranch?: string;
            cli?: string;
            /** @description With cli command. */
            command?: string[];
            model?: string;
            /** @description Of its agents. */
            envVars?: {
                [key: string]: string;
            };
            /** @description Polecats at once; 5 when 0. */
            maxAgents?: number;
            paused?: boolean;
            limits?: components["schemas"]["Limits"];
            gates?: components["schemas"]["Gate"][];
            merge?: components["schemas"]["MergeSettings"];
            git?: components["schemas"]["GitSettings"];
            createdAt: components["schemas"]["Instant"];
            updatedAt: components["schemas"]["Instant"];
        };
        TownRigList: {
            rigs: components["schemas"]["TownRig"][];
        };
        MergeSettings: {
            /**
             * @default merge
             * @enum {string}
             */
            mode?: "" | "merge" | "pull-request" | "none";
            /**
             * @default merge
             * @enum {string}
             */
            strategy?: "" | "merge" | "squash" | "rebase";
            deleteBranch?: boolean;
            autoMerge?: boolean;
            /** @description A refinery agent looks at each branch first. */
            review?: boolean;
        };
        GitSettings: {
            /** @description Commits of history of a new clone; 0 for all. */
            depth?: number;
            blobless?: boolean;
            /** @description 30 when 0 */
            fetchEverySeconds?: number;
            sparse?: string[];
            lfs?: boolean;
            submodules?: boolean;
            /**
             * Format: int64
             * @description Of the rig on disk; 0 for none.
             */
            quotaBytes?: number;
        };
        TownSettings: {
            /** @description Why nothing is handed out; empty goes on. */
            paused?: string;
            /** @description While less than that many percent of a model provider's quota are left, no agents are started; 0 for never. */
            minQuotaPercent?: number;
        };
        TownAgent: {
            agentId: components["schemas"]["Id"];
            rigId: string;
            role: components["schemas"]["Role"];
            name: string;
            beadId?: components["schemas"]["Id"];
            status: components["schemas"]["Status"];
            /** @description As of an Agent; earlier containers have other words. */
            reason?: string;
            turn: components["schemas"]["Turn"];
            /** @description Its own last gt_status. */
            says?: string;
            /** @description What it does, for people. */
            why: string;
            /** Format: int64 */
            generation: number;
            runId?: string;
            lastSeenAt: components["schemas"]["Instant"];
            lastEventType?: string;
            activeTools: string[];
            usage: components["schemas"]["Usage"];
            resources: components["schemas"]["Resources"];
            /** Format: date-time */
            startedAt?: string;
        };
        TownAgentList: {
            agents: components["schemas"]["TownAgent"][];
        };
        Prime: {
            agent: components["schemas"]["TownAgent"];
            /** @description That it has. */
            bead: components["schemas"]["Bead"] | null;
            notes: components["schemas"]["Note"][];
            mail: components["schemas"]["Mail"][];
            /** @description Of its rig. */
            openBeads: components["schemas"]["Bead"][];
            questions: components["schemas"]["Question"][];
            escalations: components["schemas"]["Escalation"][];
            /** @description For a refinery: the branches that wait, in order. */
            reviews: components["schemas"]["Merge"][];
        };
        DoneRequest: {
            /**
             * Format: int64
             * @description Of the agent's lease.
             */
            epoch: number;
            branch?: string;
            commit?: string;
            summary?: string;
            prUrl?: string;
        };
        DoneAnswer: {
            bead: components["schemas"]["Bead"];
            /** @description The epoch was old. */
            kept: boolean;
        };
        BeadAnswer: {
            bead: components["schemas"]["Bead"];
        };
        ChangesRequest: {
            /** @description What the refinery looks at when empty. */
            mergeId?: string;
            feedback: string;
            files?: string[];
        };
        CheckpointRequest: {
            /** @description Any JSON, at most 64 KiB. */
            data: unknown;
            /**
             * Format: int64
             * @description Of the agent's lease.
             */
            epoch: number;
        };
        SayRequest: {
            /** @description In characters. */
            message: string;
        };
        AskRequest: {
            question: string;
            options: string[];
            /** @default 600 */
            waitSeconds?: number;
        };
        NudgeRequest: {
            message: string;
            /**
             * @default wait-idle
             * @enum {string}
             */
            mode?: "" | "wait-idle" | "immediate" | "queue";
        };
        Nudged: {
            /** @enum {boolean} */
            nudged: true;
            orderId: components["schemas"]["Id"];
        };
        Ordered: {
            /** @enum {boolean} */
            ordered: true;
            orderId: components["schemas"]["Id"];
        };
        CompletedAnswer: {
            /** @enum {boolean} */
            completed: true;
        };
        HeartbeatSeen: {
            /** @enum {boolean} */
            heartbeat: true;
        };
        Mail: {
            id: components["schemas"]["Id"];
            /** @description An agent's id, person or town. */
            from: string;
            to: string;
            subject: string;
            body: string;
            createdAt: components["schemas"]["Instant"];
            ackedAt?: components["schemas"]["Instant"];
        };
        MailList: {
            mail: components["schemas"]["Mail"][];
        };
        MailRequest: {
            /** @description Who calls, when empty. */
            from?: string;
            to: components["schemas"]["Id"];
            subject: string;
            body?: string;
        };
        AckRequest: {
            ids: string[];
        };
        Acked: {
            acked: number;
        };
        Escalation: {
            id: components["schemas"]["Id"];
            severity: components["schemas"]["Priority"];
            title: string;
            body: string;
            agentId?: string;
            beadId?: string;
            rigId?: string;
            cause?: string;
            count: number;
            /** @enum {string} */
            status: "open" | "acknowledged" | "closed";
            answer?: string;
            createdAt: components["schemas"]["Instant"];
            updatedAt: components["schemas"]["Instant"];
            closedAt?: components["schemas"]["Instant"];
        };
        EscalationList: {
            escalations: components["schemas"]["Escalation"][];
        };
        EscalationRequest: {
            severity?: components["schemas"]["PriorityOrNone"];
            title: string;
            body?: string;
            agentId?: string;
            beadId?: string;
            rigId?: string;
            cause?: string;
        };
        EscalationAnswer: {
            answer?: string;
        };
        Question: {
            id: components["schemas"]["Id"];
            agentId: components["schemas"]["Id"];
            beadId?: components["schemas"]["Id"];
            question: string;
            options: string[];
            /** @enum {string} */
            status: "open" | "answered" | "expired" | "cancelled";
            answer?: string;
            createdAt: components["schemas"]["Instant"];
            /** @description Nobody waits for it any more; it can be answered still. */
            expiresAt: components["schemas"]["Instant"];
            answeredAt?: components["schemas"]["Instant"];
        };
        QuestionList: {
            questions: components["schemas"]["Question"][];
        };
        AnswerRequest: {
            /** @description One of the options, or something else. */
            answer: string;
        };
        /** @enum {string} */
        MergeStatus: "waiting" | "reviewing" | "merging" | "pull_request" | "merged" | "conflict" | "gates_failed" | "rejected" | "failed" | "cancelled";
        Merge: {
            id: components["schemas"]["Id"];
            rigId: components["schemas"]["Id"];
            beadId: components["schemas"]["Id"];
            branch: string;
            target: string;
            status: components["schemas"]["MergeStatus"];
            attempts: number;
            message?: string;
            commit?: string;
            pullRequest?: string;
            reviewer?: components["schemas"]["Id"];
            notBefore?: components["schemas"]["Instant"];
            createdAt: components["schemas"]["Instant"];
            updatedAt: components["schemas"]["Instant"];
        };
        MergeList: {
            merges: components["schemas"]["Merge"][];
        };
        MergeOutcome: {
            entryId?: string;
            /** @enum {string} */
            status: "merged" | "nothing" | "conflict" | "race" | "gates_failed" | "auth" | "network" | "pull_request" | "closed" | "failed";
            message?: string;
            commit?: string;
            pullRequest?: string;
            conflicts?: components["schemas"]["Conflict"][];
            gates?: components["schemas"]["GateResult"][];
            entry_id?: string;
            commit_sha?: string | null;
        };
        AgentEventInput: {
            agentId: components["schemas"]["Id"];
            rigId?: string;
            beadId?: string;
            runId: string;
            /** Format: int64 */
            id: number;
            event: string;
            /** @description By type, as in Event. */
            data: unknown;
            /** Format: date-time */
            timestamp: string;
        };
        AgentEvent: {
            /**
             * Format: int64
             * @description What after takes.
             */
            seq: number;
            agentId: components["schemas"]["Id"];
            rigId?: string;
            beadId?: string;
            runId?: string;
            /** Format: int64 */
            id: number;
            event: string;
            /** @description By type, as in Event. */
            data: unknown;
            /** Format: date-time */
            timestamp: string;
        };
        AgentEventBatch: {
            instanceId: components["schemas"]["Id"];
            events: components["schemas"]["AgentEventInput"][];
        };
        Accepted: {
            accepted: number;
        };
        AgentEventPage: {
            events: components["schemas"]["AgentEvent"][];
            /**
             * Format: int64
             * @description The after of the next page.
             */
            next: number;
        };
        Run: {
            runId: string;
            agentId: components["schemas"]["Id"];
            rigId: string;
            beadId?: string;
            /** Format: int64 */
            generation: number;
            /** @enum {string} */
            status: "running" | "success" | "error" | "cancelled";
            /** @description As of an agent. */
            reason?: string;
            error?: string;
            branch?: string;
            /** Format: date-time */
            startedAt: string;
            /** Format: date-time */
            endedAt?: string;
            /** Format: int64 */
            durationMs?: number;
            usage: components["schemas"]["Usage"];
        };
        RunList: {
            runs: components["schemas"]["Run"][];
            /** @description The after of the next page; absent on the last one. */
            next?: string;
        };
        Completion: {
            agentId?: string;
            rigId?: string;
            beadId?: string;
            runId?: string;
            /** Format: int64 */
            generation?: number;
            /** @enum {string} */
            status: "completed" | "failed";
            /** @description As of an agent; other words are kept. */
            reason?: string;
            error?: string;
            exitCode?: number | null;
            signal?: string;
            branch?: string;
            /** @description Commit that holds what was in no commit. */
            checkpoint?: string;
            /** Format: date-time */
            startedAt?: string;
            /** Format: date-time */
            exitedAt?: string;
            usage?: components["schemas"]["Usage"];
        };
        HostResources: {
            /** @description Of all cores */
            cpuPercent: number;
            /** Format: int64 */
            memoryUsed: number;
            /** Format: int64 */
            memoryTotal: number;
            /** Format: int64 */
            diskFreeBytes: number;
        };
        MergeRequest: {
            rigId: components["schemas"]["Id"];
            /** @description Not needed when the rig has a clone. */
            gitUrl?: string;
            branch: string;
            /** @description The remote's default branch when empty. */
            targetBranch?: string;
            /**
             * @default merge
             * @enum {string}
             */
            strategy?: "" | "merge" | "squash" | "rebase";
            /** @description Of the commit; one is made when empty. */
            message?: string;
            /**
             * @description On the remote, once it is merged.
             * @default false
             */
            deleteBranch?: boolean;
            /**
             * @description At the default branch, when the remote has no `targetBranch`.
             * @default false
             */
            createTarget?: boolean;
            /** @description Run in a checkout of the result, one after another, before it is pushed. */
            gates?: components["schemas"]["Gate"][];
            /**
             * @description How the branch gets into its target; what the town is set to for the rig when empty, else merge.
             * @enum {string}
             */
            mode?: "" | "merge" | "pull-request";
            pullRequest?: components["schemas"]["Proposal"];
            townId?: string;
            /** @description Of the coordinator's merge queue: answered at once, see the call. */
            entryId?: string;
            beadId?: string;
            agentId?: string;
            /** @description Where the outcome of an `entryId` goes: on the coordinator's host, below its URL. Named in `ignored` elsewhere. */
            callbackUrl?: string;
        };
        /** @description What a pull request says. Of one that is open title and body are changed when they are given. */
        Proposal: {
            /** @description The first line of the branch's last commit when empty. */
            title?: string;
            body?: string;
            /**
             * @description Of one that is opened.
             * @default false
             */
            draft?: boolean;
            /**
             * @description The forge merges it, by `strategy`, as soon as its rules allow. Where it does not do that, `message` says so.
             * @default false
             */
            autoMerge?: boolean;
        };
        PullRequest: {
            number: number;
            /** @description For people. */
            url: string;
            title: string;
            /** @enum {string} */
            state: "open" | "closed" | "merged";
            draft: boolean;
            branch: string;
            target: string;
            /** @description Commit of the branch that the forge has seen. */
            head: string;
            /** @description Where it is merged. */
            mergeCommit?: string;
            /** @description Without a conflict, as far as the forge has found out. */
            mergeable: boolean;
            /**
             * @description Of all checks: failed if one did, else pending if one is.
             * @enum {string}
             */
            checked: "none" | "pending" | "passed" | "failed";
            checks: components["schemas"]["Check"][];
            /** @enum {string} */
            review: "none" | "approved" | "changes_requested";
            /** @description This call had the forge merge it by itself. */
            autoMerge: boolean;
            /** @description What reviewers wrote, oldest first; of GET /git/pull-request only. */
            comments?: components["schemas"]["ReviewComment"][];
            /** @description There are more checks, reviews or comments. */
            truncated: boolean;
        };
        Check: {
            name: string;
            /** @enum {string} */
            state: "none" | "pending" | "passed" | "failed";
            /** @description Of its log, for people. */
            url?: string;
        };
        ReviewComment: {
            author: string;
            /** @description At most 64 KiB. */
            body: string;
            /** @description The file that it is about, absent for the whole. */
            path?: string;
            /** @description In the new file. */
            line?: number;
            url?: string;
            /** Format: date-time */
            when: string;
            /**
             * @description Of a review as a whole.
             * @enum {string}
             */
            verdict: "none" | "approved" | "changes_requested";
        };
        MergeAccepted: {
            /** @enum {string} */
            status: "accepted";
            /** @description For people. */
            message: string;
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        Gate: {
            name?: string;
            /** @description For sh. */
            command: string;
            /** @default 600 */
            timeoutSeconds?: number;
        };
        MergeResult: {
            /**
             * @description `nothing`: the target has it all already; `race`: the target, or the branch of a pull request, kept moving;
             *     `auth`: the remote or its forge does not let us; `network`: it is not reached, and what it has is not known;
             *     `pull_request`: it is open; `closed`: somebody closed it without a merge, and the branch has nothing new.
             * @enum {string}
             */
            status: "merged" | "nothing" | "conflict" | "race" | "gates_failed" | "auth" | "network" | "pull_request" | "closed";
            /** @description For people. */
            message: string;
            /** @description The branch it went into. */
            target: string;
            /** @description What the target is at, when merged or nothing. */
            commit: string;
            /** @description Commit of the branch that was looked at. */
            head: string;
            /** @description Commit of the target that was looked at. */
            base: string;
            conflicts: components["schemas"]["Conflict"][];
            /** @description Conflicts are left out. */
            truncated: boolean;
            gates: components["schemas"]["GateResult"][];
            attempts: number;
            branchDeleted: boolean;
            pullRequest?: components["schemas"]["PullRequest"];
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        Conflict: {
            path: string;
            /** @description As git names it: contents, modify/delete, and others. */
            kind: string;
            /** @description Its conflicting parts between git's markers, cut at 8 KiB. */
            hunks: string;
        };
        GateResult: {
            name: string;
            exitCode: number;
            timedOut: boolean;
            /** @description The last 32 KiB. */
            output: string;
            seconds: number;
        };
        DrainRequest: {
            /** @default 60 */
            deadlineSeconds?: number;
        };
        Manifest: {
            /** @description Those that have a worktree. */
            agents: components["schemas"]["SavedAgent"][];
        };
        SavedAgent: {
            agentId: components["schemas"]["Id"];
            branch: string;
            status: components["schemas"]["Status"];
            checkpoint?: components["schemas"]["Checkpoint"];
            /** @description Why its work is not saved, or not where it should be. */
            error?: string;
        };
        /**
         * @description Where work is that is in no commit of a branch; ref and commit are empty when there is none. Absent where all
         *     work is in commits, on this machine.
         */
        Checkpoint: {
            ref: string;
            commit: string;
            /** @description The remote has it, and the branch's commits. */
            pushed: boolean;
            /** @description Changed files that it does not hold, the first 200. */
            leftOut?: components["schemas"]["LeftOut"][];
            leftOutCount?: number;
        };
        LeftOut: {
            path: string;
            why: string;
        };
        RefreshTokenRequest: {
            token: string;
            townId?: string;
            /**
             * @description With its port if it has one.
             * @default github.com
             */
            host?: string;
        };
        RefreshTokenResponse: {
            /** @enum {boolean} */
            refreshed: true;
            /** @enum {integer} */
            agentsRestarted: 0;
            /** @enum {integer} */
            agentsFailed: 0;
            results: Record<string, never>[];
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        CLIList: {
            clis: components["schemas"]["CLI"][];
        };
        CLI: {
            /** @description As `cli` of a start request. */
            name: string;
            /** @description Empty for one that is built in, or given by the request. */
            program: string;
            /** @description Of the program; empty when it is not installed. */
            path: string;
            /** @description Empty when it is not installed or did not tell. */
            version: string;
            /** @description The version that the town was tested with. */
            tested: string;
            /** @description The version is the tested one, but for its last number. */
            inRange: boolean;
            installed: boolean;
            /** @description The command that installs it. */
            install: string;
            /** @description The town has a credential for a model that it speaks to, or it needs none. */
            credential: boolean;
            /** @description Why the version of an installed one is not known. */
            error?: string;
        };
        /**
         * Format: date-time
         * @description A time of the coordinator
         * @example 2026-11-21T09:00:00.123Z
         */
        Instant: string;
        Ignored: {
            /** @description Fields of the request that the coordinator does not know. */
            ignored?: string[];
        };
        /** @enum {string} */
        BeadStatus: "open" | "in_progress" | "in_review" | "closed" | "failed";
        /** @enum {string} */
        BeadType: "issue" | "bug" | "feature" | "chore" | "docs" | "convoy" | "escalation";
        /** @enum {string} */
        Priority: "low" | "medium" | "high" | "critical";
        /**
         * @default medium
         * @enum {string}
         */
        PriorityOrNone: "" | "low" | "medium" | "high" | "critical";
        /**
         * @default issue
         * @enum {string}
         */
        BeadTypeOrNone: "" | "issue" | "bug" | "feature" | "chore" | "docs" | "escalation";
        Bead: {
            id: components["schemas"]["Id"];
            rigId: components["schemas"]["Id"];
            type: components["schemas"]["BeadType"];
            title: string;
            body: string;
            status: components["schemas"]["BeadStatus"];
            /** @description For people: what it waits for, or why it is in this status. */
            why: string;
            priority: components["schemas"]["Priority"];
            labels: string[];
            /** @description Who made it: person, agent:<id>, github and others. */
            source: string;
            dedupeKey?: string;
            /** @description Beads that must be closed before anyone takes it. */
            dependsOn: components["schemas"]["Id"][];
            convoyId?: components["schemas"]["Id"];
            /** @description Times that it was taken since it was made or retried. */
            attempts: number;
            maxAttempts: number;
            /** @description Times that it came back from review. */
            reworks: number;
            notBefore?: components["schemas"]["Instant"];
            /** @description Why nobody may take it, until it is retried or let go. */
            hold?: string;
            agentId?: components["schemas"]["Id"];
            lease?: components["schemas"]["Lease"];
            /**
             * Format: int64
             * @description Of the newest lease; 0 before the first.
             */
            epoch: number;
            branch?: string;
            startPoint?: string;
            target?: string;
            commit?: string;
            pullRequest?: string;
            summary?: string;
            /** @description Of the last review or merge that sent it back. */
            feedback?: string;
            /** @description What its agent noted last; any JSON. */
            checkpoint?: unknown;
            /** @description As it was given. */
            metadata?: Record<string, never>;
            createdAt: components["schemas"]["Instant"];
            updatedAt: components["schemas"]["Instant"];
            closedAt?: components["schemas"]["Instant"];
        };
        Lease: {
            /** Format: int64 */
            epoch: number;
            expiresAt: components["schemas"]["Instant"];
        };
        BeadList: {
            beads: components["schemas"]["Bead"][];
            /** @description The after of the next page; absent on the last one. */
            next?: string;
        };
        BeadRequest: {
            type?: components["schemas"]["BeadTypeOrNone"];
            title: string;
            body?: string;
            priority?: components["schemas"]["PriorityOrNone"];
            labels?: string[];
            /** @description Ignored when an agent calls */
            source?: string;
            dedupeKey?: string;
            dependsOn?: components["schemas"]["Id"][];
            /** Format: date-time */
            notBefore?: string;
            /** @default 3 */
            maxAttempts?: number;
            startPoint?: string;
            target?: string;
            metadata?: Record<string, never>;
        };
        BeadPatch: {
            title?: string;
            body?: string;
            type?: components["schemas"]["BeadType"];
            priority?: components["schemas"]["Priority"];
            labels?: string[];
            dependsOn?: components["schemas"]["Id"][];
            /** Format: date-time */
            notBefore?: string;
            /** @description Empty lets it go. */
            hold?: string;
            /** @enum {string} */
            status?: "" | "closed" | "failed";
            reason?: string;
        };
        ReasonRequest: {
            reason?: string;
        };
        CloseRequest: {
            reason?: string;
            /**
             * Format: int64
             * @description Of an agent's lease, when it closes its own bead.
             */
            epoch?: number;
        };
        Note: {
            /** Format: int64 */
            id: number;
            beadId: components["schemas"]["Id"];
            /** @description note, status, attempt, feedback, checkpoint and others. */
            kind: string;
            /** @description person, town or an agent's id. */
            by: string;
            text: string;
            /**
             * Format: int64
             * @description Of the lease it was written under.
             */
            epoch?: number;
            branch?: string;
            createdAt: components["schemas"]["Instant"];
        };
        NoteList: {
            notes: components["schemas"]["Note"][];
        };
        NoteRequest: {
            text: string;
            /**
             * @default note
             * @enum {string}
             */
            kind?: "" | "note" | "attempt" | "feedback" | "checkpoint";
        };
        /** @enum {string} */
        ConvoyMode: "review-then-land" | "review-and-merge";
        /** @enum {string} */
        ConvoyStatus: "staged" | "open" | "landing" | "closed" | "failed";
        Convoy: {
            id: components["schemas"]["Id"];
            rigId: components["schemas"]["Id"];
            title: string;
            mode: components["schemas"]["ConvoyMode"];
            status: components["schemas"]["ConvoyStatus"];
            /** @description That its beads go into, with review-then-land. */
            branch?: string;
            beads: components["schemas"]["Id"][];
            /** @description Of its beads. */
            closed: number;
            /** @description Of its beads. */
            failed: number;
            createdAt: components["schemas"]["Instant"];
            closedAt?: components["schemas"]["Instant"];
        };
        ConvoyList: {
            convoys: components["schemas"]["Convoy"][];
        };
        ConvoyMade: {
            convoy: components["schemas"]["Convoy"];
            /** @description In the order of the tasks. */
            beads: components["schemas"]["Bead"][];
        };
        ConvoyRequest: {
            rigId: components["schemas"]["Id"];
            title: string;
            /**
             * @default review-and-merge
             * @enum {string}
             */
            mode?: "" | "review-then-land" | "review-and-merge";
            staged?: boolean;
            parallel?: boolean;
            source?: string;
            tasks: components["schemas"]["ConvoyTask"][];
        };
        ConvoyTask: {
            title: string;
            body?: string;
            type?: components["schemas"]["BeadTypeOrNone"];
            priority?: components["schemas"]["PriorityOrNone"];
            labels?: string[];
            /** @description Indices of tasks. */
            dependsOn?: number[];
        };
        ConvoyBeadRequest: {
            beadId: components["schemas"]["Id"];
        };
        /** @description A text frame of a stream, from the town. */
        StreamFrame: components["schemas"]["HelloFrame"] | components["schemas"]["ScreenFrame"] | components["schemas"]["ResizeFrame"] | components["schemas"]["EventFrame"] | components["schemas"]["GapFrame"] | components["schemas"]["ModeFrame"] | components["schemas"]["ErrorFrame"] | components["schemas"]["ExitFrame"];
        HelloFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "hello";
            agentId: string;
            runId: string;
            /**
             * Format: int64
             * @description Of the first byte that follows.
             */
            offset: number;
            cols: number;
            rows: number;
            mode: components["schemas"]["TicketMode"];
            /** @description This viewer came to type and does when those before it have left. */
            waiting?: boolean;
            status: components["schemas"]["Status"];
            /** @description The bytes are a protocol for programs; draw the events instead. */
            structured: boolean;
            epoch: string;
            /**
             * Format: int64
             * @description Events with greater ids follow as frames.
             */
            eventId: number;
        };
        ScreenFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "screen";
            /** @description Text and escape sequences that draw the screen, cursor and modes on an empty terminal. */
            data: string;
        };
        ResizeFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "resize";
            cols: number;
            rows: number;
        };
        EventFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "event";
            event: components["schemas"]["Event"];
        };
        GapFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "gap";
            /** Format: int64 */
            from: number;
            /** Format: int64 */
            to: number;
        };
        ModeFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "mode";
            mode: components["schemas"]["TicketMode"];
        };
        ErrorFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "error";
            error: string;
        };
        ExitFrame: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "exit";
            /**
             * Format: int64
             * @description The run's size.
             */
            offset: number;
            status: components["schemas"]["Status"];
            reason?: components["schemas"]["Reason"];
            exitCode?: number | null;
            signal?: string;
            error?: string;
        };
    };
    responses: {
        /** @description The request is wrong; `issues` names each field. */
        BadRequest: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "type": "about:blank",
                 *       "title": "Bad Request",
                 *       "status": 400,
                 *       "detail": "invalid: agentId is required",
                 *       "error": "Invalid request body",
                 *       "issues": [
                 *         {
                 *           "path": "agentId",
                 *           "message": "is required"
                 *         }
                 *       ]
                 *     }
                 */
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description No token, or not this town's; for a stream, no valid ticket; under `/shared`, no link that opens something. */
        Unauthorized: {
            headers: {
                "WWW-Authenticate"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description A foreign Host or Origin, or a ticket for another agent. */
        Forbidden: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description There is no such agent, or no such path. */
        NotFound: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "type": "about:blank",
                 *       "title": "Not Found",
                 *       "status": 404,
                 *       "detail": "agent \"a9\": not found",
                 *       "error": "agent \"a9\": not found"
                 *     }
                 */
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description What is asked contradicts what is. */
        Conflict: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description It was held once and is no longer. */
        Gone: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description All that is held. */
        Transcript: {
            headers: {
                /** @description The run. */
                "X-Townd-Run-Id"?: string;
                /** @description The first offset still held. */
                "X-Townd-First-Offset"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/octet-stream": string;
                "application/x-asciicast": string;
            };
        };
        /** @description The range. */
        TranscriptRange: {
            headers: {
                /** @description The run. */
                "X-Townd-Run-Id"?: string;
                /** @description The first offset still held. */
                "X-Townd-First-Offset"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/octet-stream": string;
                "multipart/byteranges": string;
            };
        };
        /** @description The range is outside of what is held; the headers and the text say what is. */
        TranscriptElsewhere: {
            headers: {
                /** @description The run. */
                "X-Townd-Run-Id"?: string;
                /** @description The first offset still held. */
                "X-Townd-First-Offset"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The body is larger than is taken. */
        TooLarge: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description No capacity; come back after `Retry-After` seconds. */
        Busy: {
            headers: {
                "Retry-After": number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Not now; the town is ending or starting. */
        Unavailable: {
            headers: {
                "Retry-After": number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Another error. */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        id: components["schemas"]["Id"];
        /** @description The coordinator knows one; any other is 404. */
        townId: components["schemas"]["Id"];
        rigId: components["schemas"]["Id"];
        beadId: components["schemas"]["Id"];
        agentId: components["schemas"]["Id"];
        convoyId: components["schemas"]["Id"];
        escalationId: components["schemas"]["Id"];
        questionId: components["schemas"]["Id"];
        mergeId: components["schemas"]["Id"];
        /**
         * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
         *     is refused with 409.
         */
        idempotencyKey: string;
        /**
         * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
         *     calls, or the town itself.
         */
        actingAgent: components["schemas"]["Id"];
        /** @description An earlier run of the agent; its newest when absent. */
        run: components["schemas"]["Id"];
        /** @description `asciicast` for a recording in asciicast v2, with timing and sizes. */
        format: "raw" | "asciicast";
        /** @example bytes=4096- */
        range: string;
        /** @description Only events with a greater id, as `<id>` or `<epoch>:<id>`. */
        afterEvent: string;
        eventLimit: number;
        lastEventId: string;
    };
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
