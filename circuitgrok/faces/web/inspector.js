function K(n,t,e){return t==="mean"?n.mean(e):n.put(1,e.cols,new Float64Array(e.cols))}var J=(n,t)=>Int32Array.from({length:t},(e,s)=>n+s),R=(n,t)=>n.filter(e=>e.what===t),Mt=({rows:n,index:t},e)=>({rows:e(n),index:t});function sn(n,{what:t,numbers:e,said:s},o,r){if(t==="neuron"){if(e.some(l=>l>=o.cols))throw new Error(`no ${s}: there are ${o.cols} neurons`);return Int32Array.from(e)}let{freq:i,purity:a}=n.tuning(o,r.addition),c=Array.from(i,(l,f)=>a[f]>=.85&&e.includes(l));return Int32Array.from(c.flatMap((l,f)=>l===(t==="cluster")?[f]:[]))}function At(n,t,e,s){for(let o of e){if(!["neuron","cluster","no cluster"].includes(o.what))continue;let r=sn(n,o,t,s);o.fill==="polynomial"?t=n.polynomial(t,r,s.addition):r.length&&(t=n.replaced(t,r,K(n,o.fill,t)))}return t}function ft(n,t,e,s,[o,r]){for(let i of[...R(e,o),...R(e,r)]){let a=n.waves(t,i.numbers,s.addition);t=i.what===o?n.sum(t,a,-1):n.sum(a,n.mean(t))}return t}function on(n,t,e){let s=n.read(t),o=s.length/e,r=new Float64Array(o);return s.forEach((i,a)=>r[a%o]+=i),n.put(1,s.length,Float64Array.from(s,(i,a)=>r[a%o]/e))}var ut=class{constructor(t,e,s,o,r,i){Object.assign(this,{x:t,model:e,layer:o,task:i,n:i.pairs,parts:r.filter(a=>a.layer===o)}),this.of=a=>s(`blocks.${o}.${a}`)}normed(t,e){return this.model.normalization!=="LN"?t:this.x.normed(t,this.of(`${e}.w`),this.of(`${e}.b`))}heads(t,e){return Mt(t,s=>this.x.product(s,this.of(`attn.W_${e}`),this.of(`attn.b_${e}`)))}attention(t,e){let{x:s,model:o,n:r}=this,i=(u,m)=>u.map(g=>this.heads(Mt(g,d=>this.normed(d,"ln1")),m)),[a]=i([t],"Q"),c=s.attention(a,i(e,"K"),o.n_heads,o.attention_rate??1,r);for(let{fill:u}of R(this.parts,"pattern")){let m=s.mean(c);c=s.repeated(u==="mean"?m:on(s,m,e.length),r)}let l=s.mixture(c,i(e,"V"),o.n_heads,r);for(let{numbers:u,fill:m,said:g}of R(this.parts,"head")){if(u[0]>=o.n_heads)throw new Error(`no ${g}: there are ${o.n_heads} heads`);l=s.replaced(l,J(u[0]*o.d_head,o.d_head),K(s,m,l))}let f=s.product(l,this.of("attn.W_O"),this.of("attn.b_O"));for(let{fill:u}of R(this.parts,"attention"))f=s.repeated(K(s,u,f),r);return{out:f,pattern:c}}neurons(t){let e=this.x.product(this.normed(t,"ln2"),this.of("mlp.W_in"),this.of("mlp.b_in"));return{pre:e,post:At(this.x,this.x.activation(e,this.model.act),this.parts,this.task)}}alone(t){let{x:e}=this,s=this.heads({rows:this.normed(t,"ln1"),index:null},"V").rows,o=e.sum(e.product(s,this.of("attn.W_O"),this.of("attn.b_O")),t);return e.sum(o,e.product(this.neurons(o).post,this.of("mlp.W_out"),this.of("mlp.b_out")))}after(t,e){let{x:s}=this;if(e.length===1&&!this.parts.length)return Mt(t,c=>this.alone(c));let{out:o}=this.attention(t,e),r=t.index?s.gather(t.rows,t.index):t.rows,i=s.sum(o,r),a=s.product(this.neurons(i).post,this.of("mlp.W_out"),this.of("mlp.b_out"));for(let{fill:c}of R(this.parts,"mlp"))a=s.repeated(K(s,c,a),this.n);for(let{fill:c}of R(this.parts,"layer"))return{rows:s.sum(r,s.repeated(K(s,c,s.sum(o,a)),this.n)),index:null};return{rows:s.sum(i,a),index:null}}};function Dt(n,t,e,s,o){let{p:r}=t,i=t.equals??!0,a=e("embed.W_E"),c=e("pos_embed.W_pos"),l=(L,z)=>n.gather(a,J(L,z)),f=(L,z)=>n.sum(L,n.gather(c,J(z,1))),u=l(0,r),m=t.own_tokens?l(r,r):u,g=[{rows:f(u,0),index:o.a},{rows:f(m,1),index:o.b}];i&&g.push({rows:f(l(a.rows-1,1),2),index:null});let d=t.n_layers-1;for(let L=0;L<d;L++){let z=new ut(n,t,e,L,s,o),_t=V=>t.causal??!0?g.slice(0,V+1):g;g=g.map((V,nn)=>{let Ut=null;return{rows:n.scoped(()=>{let Pt=z.after(V,_t(nn));return Ut=Pt.index,Pt.rows}),index:Ut}})}let p=new ut(n,t,e,d,s,o),h=g.at(-1),{out:w,pattern:y}=p.attention(h,g),b=h.index?n.gather(h.rows,h.index):h.rows,k=n.sum(w,b),{pre:M,post:$}=p.neurons(k),O=n.columns(e("unembed.W_U"),0,r),_=n.columns(e("unembed.b_U"),0,r),A=t.normalization!=="LN",S=(L,z)=>A?n.product(L,O,z):z?n.sum(L,z):L,N=A?n.product($,n.product(p.of("mlp.W_out"),O),n.product(p.of("mlp.b_out"),O)):n.product($,p.of("mlp.W_out"),p.of("mlp.b_out"));N=ft(n,N,p.parts,o,["waves","only waves"]);let C=S(k);for(let{fill:L}of R(p.parts,"layer")){let z=n.sum(S(w),N);N=n.repeated(K(n,L,z),o.pairs),C=S(b)}for(let{fill:L}of R(p.parts,"mlp"))N=n.repeated(K(n,L,N),o.pairs);for(let{fill:L}of R(p.parts,"skip"))C=K(n,L,C);let W=n.sum(N,C);return W=A?n.sum(W,_):n.product(n.normed(W,e("ln_final.w"),e("ln_final.b")),O,_),{logits:ft(n,W,p.parts,o,["excluded","restricted"]),pre:M,post:$,pattern:y}}function rn(n,t,e,s){if(!s.features){let[r,i]=an(n,t,e);return n.sum(n.gather(r,s.a),n.gather(i,s.b))}if(t.kind!=="dense")throw new Error(`a network of kind ${t.kind} reads pairs of numbers, not features`);let o=n.put(s.pairs,t.n_in,s.features);return n.product(o,e("blocks.0.mlp.W_in"),e("blocks.0.mlp.b_in"))}function an(n,t,e){let s=e("blocks.0.mlp.W_in"),o=(u,m)=>n.gather(s,J(u,m));if(t.kind==="quadratic_mlp")return[o(0,t.p),o(t.p,t.p)];let r=e("blocks.0.mlp.b_in");if(t.kind==="dense"){let u=t.n_in/2;return[n.sum(o(0,u),r),o(u,u)]}let{p:i,d_embed:a}=t,c=e("embed.W_E"),l=n.gather(c,J(0,i)),f=n.gather(c,J(c.rows-i,i));return[n.product(l,o(0,a),r),n.product(f,o(s.rows-a,a))]}function dt(n,t,e,s,o){for(let{what:g,said:d}of s)if(!["neuron","cluster","no cluster","waves","only waves","excluded","restricted"].includes(g))throw new Error(`no ${d}: a network of kind ${t.kind} has neurons alone`);let r=t.kind==="quadratic_mlp"?"square":t.act,i=t.kind==="quadratic_mlp"?1:t.depth,a=g=>s.filter(d=>d.layer===g),c=rn(n,t,e,o),l=At(n,n.activation(c,r),a(0),o);for(let g=1;g<i;g++)c=n.product(l,e(`blocks.${g}.mlp.W_in`),e(`blocks.${g}.mlp.b_in`)),l=At(n,n.activation(c,r),a(g),o);let f=a(i-1),u=n.product(l,e("unembed.W_U"));u=ft(n,u,f,o,["waves","only waves"]);let m=t.kind==="quadratic_mlp"?u:n.sum(u,e("unembed.b_U"));return{logits:ft(n,m,f,o,["excluded","restricted"]),pre:c,post:l,pattern:null}}var cn={freq:"waves","only freq":"only waves"},X={pattern:["uniform","mean"],head:["zero","mean"],attention:["zero","mean"],neuron:["zero","mean"],cluster:["zero","mean","polynomial"],"no cluster":["zero","mean"],waves:["zero"],"only waves":["mean"],layer:["zero","mean"],mlp:["zero","mean"],skip:["zero","mean"],excluded:["zero"],restricted:["mean"]},ln=["head","neuron","cluster","no cluster","waves","only waves","excluded","restricted"],fn=["head","attention","neuron","mlp","layer"];function Ht(n){let t=/^(?:layer\s+(\d+)\s*)?([a-z ]*?)\s*((?:\d+\s*,\s*)*\d+)?$/.exec(n.trim()),e=()=>new Error(`no part '${n}'; parts are ${Object.keys(X).join(", ")}`);if(!t)throw e();let s=t[1]===void 0?null:Number(t[1]),r=t[2].split(/\s+/).filter(Boolean).join(" ")||(s!==null&&t[3]===void 0?"layer":""),i=cn[r]??r;if(!Object.hasOwn(X,i)||i==="layer"!=(r==="layer"&&s!==null))throw e();let a=[...new Set((t[3]?.match(/\d+/g)??[]).map(Number))].sort((c,l)=>c-l);if(ln.includes(i)!==a.length>0||i==="head"&&a.length>1||s!==null&&!fn.includes(i))throw e();return{what:i,numbers:a,layer:s}}function Vt(n,t){let e=Object.keys(X);return n.filter(o=>o.kind==="ablate").map(o=>{let r=Ht(o.part),i=o.fill??X[r.what][0];if(!X[r.what].includes(i))throw new Error(`in the place of ${o.part} may stand ${X[r.what].join(" or ")}; got '${i}'`);return{...r,layer:r.layer??t,fill:i,said:o.part}}).sort((o,r)=>e.indexOf(o.what)-e.indexOf(r.what))}function G(n){let t=new Float64Array(n*n).fill(1/Math.sqrt(n));for(let e=1;e<n;e++){let s=e+1>>1,o=e%2?Math.cos:Math.sin,r=0;for(let i=0;i<n;i++)r+=(t[e*n+i]=o(2*Math.PI*(s*i%n)/n))**2;for(let i=0;i<n;i++)t[e*n+i]/=Math.sqrt(r)}return t}function un(n,t){for(let e of n)if(!(Number.isInteger(e)&&e>=1&&e<=t>>1))throw new Error(`frequencies must be in 1..${t>>1}; got ${n}`);return n.flatMap(e=>2*e<t?[2*e-1,2*e]:[2*e-1])}function pt(n,t,e,s,o=G(t)){let r=new Float64Array(t*e);for(let i of un(s,t))for(let a=0;a<e;a++){let c=0;for(let l=0;l<t;l++)c+=o[i*t+l]*n[l*e+a];for(let l=0;l<t;l++)r[l*e+a]+=o[i*t+l]*c}return r}var dn=2**-23;function pn(n){let t=Math.abs(n);if(t<2.5){let s=n,o=n;for(let r=1;Math.abs(s)>1e-17*Math.abs(o);r++)s*=-n*n/r,o+=s/(2*r+1);return 2/Math.sqrt(Math.PI)*o}let e=0;for(let s=60;s>0;s--)e=s/2/(t+e);return Math.sign(n)*(1-Math.exp(-n*n)/(Math.sqrt(Math.PI)*(t+e)))}var hn={relu:n=>n>0?n:0,gelu:n=>n*(1+pn(n/Math.SQRT2))/2,tanh:Math.tanh,square:n=>n*n},ht=class{put(t,e,s){if(s.length!==t*e)throw new Error(`${t} x ${e} numbers are needed; got ${s.length}`);return{rows:t,cols:e,data:Float64Array.from(s)}}read(t){return Float64Array.from(t.data)}begin(){}scoped(t){return t()}_made(t,e,s){let o=new Float64Array(t*e);for(let r=0,i=0;r<t;r++)for(let a=0;a<e;a++,i++)o[i]=s(r,a,i);return{rows:t,cols:e,data:o}}product(t,e,s=null){if(t.cols!==e.rows)throw new Error(`a product of ${t.rows} x ${t.cols} and ${e.rows} x ${e.cols}`);let o=this._made(t.rows,e.cols,(r,i)=>s?s.data[(s.rows>1?r*e.cols:0)+i]:0);for(let r=0;r<t.rows;r++)for(let i=0;i<t.cols;i++){let a=t.data[r*t.cols+i];if(a!==0)for(let c=0;c<e.cols;c++)o.data[r*e.cols+c]+=a*e.data[i*e.cols+c]}return o}sum(t,e,s=1){let[o,r]=[t,e].map(i=>i.rows>1?i.cols:0);return this._made(Math.max(t.rows,e.rows),t.cols,(i,a)=>t.data[i*o+a]+s*e.data[i*r+a])}gather(t,e){return this._made(e.length,t.cols,(s,o)=>t.data[e[s]*t.cols+o])}columns(t,e,s){return this._made(t.rows,s,(o,r)=>t.data[o*t.cols+e+r])}activation(t,e){return this._made(t.rows,t.cols,(s,o,r)=>hn[e](t.data[r]))}normed(t,e,s){let o=this._made(t.rows,t.cols,()=>0);for(let r=0;r<t.rows;r++){let i=t.data.subarray(r*t.cols,(r+1)*t.cols),a=i.reduce((l,f)=>l+f,0)/t.cols,c=Math.sqrt(i.reduce((l,f)=>l+(f-a)**2,0)/t.cols+1e-5);i.forEach((l,f)=>o.data[r*t.cols+f]=(l-a)/c*e.data[f]+s.data[f])}return o}attention(t,e,s,o,r){let i=t.rows.cols/s,a=(l,f)=>(l.index?l.index[f]:l.rows.rows===1?0:f)*l.rows.cols,c=this._made(r,e.length*s,()=>0);for(let l=0;l<r;l++)for(let f=0;f<s;f++){let u=e.map(p=>{let h=0;for(let w=f*i;w<(f+1)*i;w++)h+=t.rows.data[a(t,l)+w]*p.rows.data[a(p,l)+w];return h/Math.sqrt(i)}),m=Math.max(...u),g=u.map(p=>Math.exp(p-m)),d=g.reduce((p,h)=>p+h,0);g.forEach((p,h)=>c.data[(l*e.length+h)*s+f]=p/d*o+1-o)}return c}mixture(t,e,s,o){let r=e[0].rows.cols,i=r/s,a=this._made(o,r,()=>0);for(let c=0;c<o;c++)e.forEach(({rows:l,index:f},u)=>{let m=(f?f[c]:l.rows===1?0:c)*r,g=((t.rows===1?0:c)*e.length+u)*s;for(let d=0;d<r;d++)a.data[c*r+d]+=t.data[g+Math.floor(d/i)]*l.data[m+d]});return a}mean(t){let e=this._made(1,t.cols,()=>0);for(let s=0;s<t.data.length;s++)e.data[s%t.cols]+=t.data[s]/t.rows;return e}repeated(t,e){return this._made(e,t.cols,(s,o)=>t.data[o])}replaced(t,e,s){let o=this._made(t.rows,t.cols,(r,i,a)=>t.data[a]);for(let r=0;r<t.rows;r++)for(let i of e)o.data[r*t.cols+i]=s.data[(s.rows>1?r*t.cols:0)+i];return o}waves(t,e,{m:s,sums:o}){let r=new Float64Array(s*t.cols);for(let a=0;a<t.rows;a++)for(let c=0;c<t.cols;c++)r[o[a]*t.cols+c]+=t.data[a*t.cols+c]/s;let i=pt(r,s,t.cols,e);return this._made(t.rows,t.cols,(a,c)=>i[o[a]*t.cols+c])}tuning(t,{m:e,order:s}){let o=G(e),r=e>>1,i=new Int32Array(t.cols),a=new Float64Array(t.cols),c=new Float64Array(e*e),l=new Float64Array(e*e);for(let f=0;f<t.cols;f++){let u=0;for(let p=0;p<e*e;p++)u+=(c[p]=t.data[s[p]*t.cols+f])/(e*e);let m=c.reduce((p,h)=>p+(h-u)**2,0);if(!(m>(e*dn)**2*(m+e*e*u*u)))continue;for(let p=0;p<e;p++)for(let h=0;h<e;h++){let w=0;for(let y=0;y<e;y++)w+=o[h*e+y]*(c[p*e+y]-u);l[p*e+h]=w}let g=(p,h)=>{let w=0;for(let y=0;y<e;y++)w+=o[p*e+y]*l[y*e+h];return w},d=-1;for(let p=1;p<=r;p++){let h=2*p<e?[2*p-1,2*p]:[2*p-1],w=0;for(let y of h)w+=g(y,0)**2+g(0,y)**2;for(let y of h)for(let b of h)w+=g(y,b)**2;w>d&&(d=w,i[f]=p,a[f]=w/m)}}return{freq:i,purity:a}}polynomial(t,e,{m:s,order:o}){let{freq:r}=this.tuning(t,{m:s,order:o}),i=G(s),a=this._made(t.rows,t.cols,(c,l,f)=>t.data[f]);for(let c of e){if(!r[c])continue;let l=[0,2*r[c]-1,...2*r[c]<s?[2*r[c]]:[]],f=new Float64Array(s*s);for(let u of l)for(let m of l){let g=p=>i[u*s+Math.floor(p/s)]*i[m*s+p%s],d=o.reduce((p,h,w)=>p+g(w)*t.data[h*t.cols+c],0);for(let p=0;p<s*s;p++)f[p]+=d*g(p)}f.forEach((u,m)=>a.data[o[m]*t.cols+c]=u)}return a}scores(t,{labels:e,isTrain:s}){let o=[0,0],r=[0,0],i=[0,0];for(let l=0;l<t.rows;l++){let f=t.data.subarray(l*t.cols,(l+1)*t.cols),u=f.reduce((d,p)=>Math.max(d,p),-1/0),m=f.reduce((d,p)=>d+Math.exp(p-u),0),g=s[l]?0:1;i[g]+=1,o[g]+=Math.log(m)+u-f[e[l]],r[g]+=f.indexOf(u)===e[l]?1:0}let[a,c]=[0,1].map(l=>({loss:o[l]/i[l],acc:r[l]/i[l]}));return{train_loss:a.loss,test_loss:c.loss,train_acc:a.acc,test_acc:c.acc}}};var mn=n=>{for(let t=2;t*t<=n;t++)if(n%t===0)return!1;return!0};function gn(n,t){let e=[1];for(;e.length<t-1;)e.push(e.at(-1)*n%t);return e}function wn(n){if(!mn(n))throw new Error(`p must be prime to have a discrete logarithm; got ${n}`);for(let t=2;t<n||n===3;t++){let e=gn(t,n);if(new Set(e).size===n-1)return e}throw new Error(`no primitive root of ${n}`)}var bn=(n,t)=>{for(let e=1;e<t;e++)if(n*e%t===1)return e;return 0},Kt={add:(n,t,e)=>(n+t)%e,subtract:(n,t,e)=>((n-t)%e+e)%e,multiply:(n,t,e)=>n*t%e,divide:(n,t,e)=>n*bn(t,e)%e,quadratic:(n,t,e)=>(n*n+n*t+t*t)%e,times_square:(n,t,e)=>n*(t*t%e)%e};function yn(n,t){let e=typeof n=="string"?Uint8Array.from(atob(n),s=>s.charCodeAt(0)):n;return Uint8Array.from({length:t},(s,o)=>e[o>>3]>>(o&7)&1)}var Z=class{constructor(t){this.p=t.p??null,this.operation=this.p===null?null:t.operation??"add",this.grouped=this.operation==="multiply"||this.operation==="divide";let e=this.grouped?1:0,s=this.p-e,o=t.inputs&&!t.features?Array.from(t.inputs).flat():null;this.features=t.features?Float32Array.from(t.features):null;let r=this.features?t.labels.length:o?o.length/3:s*s;if(this.pairs=r,this.features&&(this.p=null),this.a=Int32Array.from({length:this.features?0:r},(i,a)=>o?o[3*a]:Math.floor(a/s)+e),this.b=Int32Array.from({length:this.features?0:r},(i,a)=>o?o[3*a+1]:a%s+e),!Number.isInteger(r)||r<1)throw new Error("a task needs p, or inputs of three numbers a pair, or features");if(!t.labels&&!Kt[this.operation])throw new Error(`labels of '${this.operation}' must be given`);if(this.labels=Int32Array.from(t.labels??Array.from(this.a,(i,a)=>Kt[this.operation](i,this.b[a],this.p))),this.isTrain=t.is_train?Uint8Array.from(t.is_train,Number):t.train_mask?yn(t.train_mask,r):null,!this.isTrain)throw new Error("a task needs is_train or train_mask");for(let[i,a]of[["labels",this.labels],["is_train",this.isTrain]])if(a.length!==r)throw new Error(`${i} must be of ${r} pairs; got ${a.length}`);this.square=this.p!==null&&r===s*s}get addition(){if(this.hidden)return this.hidden;if(!this.square)throw new Error("frequencies are of tasks on all pairs of numbers modulo p; this is none");let t=this.p,e=this.grouped?wn(t):Array.from({length:t},(c,l)=>l),s=e.length,o=this.grouped?1:0,r=this.operation==="subtract"||this.operation==="divide",i=new Int32Array(s*s),a=new Int32Array(s*s);for(let c=0;c<s;c++)for(let l=0;l<s;l++){let f=e[r?(s-l)%s:l],u=(e[c]-o)*s+f-o;i[c*s+l]=u,a[u]=(c+l)%s}return this.hidden={m:s,order:i,sums:a},this.hidden}};var Ot=["relu","gelu","tanh","square"],xn=65536,mt=class{constructor(t){this.f=t.exports,this.f.start(),this.first=this.f.__heap_base.value,this.bases=new Map,this.begin()}begin(){this.next=this.first,this.places=new Map}_room(t){let e=this.next+15&-16;this.next=e+t;let s=this.next-this.f.memory.buffer.byteLength;return s>0&&this.f.memory.grow(Math.ceil(s/xn)),e}scoped(t){let e=this.next+15&-16,{rows:s,cols:o,at:r}=t();if(r<e)return{rows:s,cols:o,at:r};let i=4*s*o;new Uint8Array(this.f.memory.buffer).copyWithin(e,r,r+i),this.next=e+i;for(let[a,c]of this.places)c>=e&&this.places.delete(a);return{rows:s,cols:o,at:e}}_matrix(t,e){return{rows:t,cols:e,at:this._room(4*t*e)}}_floats(t,e){return new Float32Array(this.f.memory.buffer,t,e)}_placed(t){let e=this._room(t.byteLength);return new t.constructor(this.f.memory.buffer,e,t.length).set(t),e}_index(t){return t?(this.places.has(t)||this.places.set(t,this._placed(t)),this.places.get(t)):0}_basis(t){return this.bases.has(t)||this.bases.set(t,G(t)),this.bases.get(t)}put(t,e,s){if(s.length!==t*e)throw new Error(`${t} x ${e} numbers are needed; got ${s.length}`);let o=this._matrix(t,e);return this._floats(o.at,t*e).set(s),o}read(t){return this._floats(t.at,t.rows*t.cols).slice()}product(t,e,s=null){if(t.cols!==e.rows)throw new Error(`a product of ${t.rows} x ${t.cols} and ${e.rows} x ${e.cols}`);let o=this._matrix(t.rows,e.cols),r=this._room(4*t.cols*8*Math.ceil(e.cols/8)),i=s&&s.rows>1?e.cols:0;return this.f.product(t.at,e.at,s?s.at:0,i,o.at,t.rows,t.cols,e.cols,r),o}sum(t,e,s=1){let o=this._matrix(Math.max(t.rows,e.rows),t.cols),[r,i]=[t,e].map(a=>a.rows>1?a.cols:0);return this.f.sum(t.at,r,e.at,i,s,o.at,o.rows,t.cols),o}gather(t,e){let s=this._matrix(e.length,t.cols);return this.f.gather(t.at,this._index(e),s.at,e.length,t.cols),s}columns(t,e,s){let o=this._matrix(t.rows,s);return this.f.columns(t.at,t.cols,e,o.at,t.rows,s),o}repeated(t,e){let s=this._matrix(e,t.cols);return this.f.columns(t.at,0,0,s.at,e,t.cols),s}activation(t,e){if(!Ot.includes(e))throw new Error(`no activation '${e}'; there are ${Ot.join(", ")}`);let s=this._matrix(t.rows,t.cols);return this.f.activation(Ot.indexOf(e),t.at,s.at,t.rows*t.cols),s}normed(t,e,s){let o=this._matrix(t.rows,t.cols);return this.f.normed(t.at,e.at,s.at,o.at,t.rows,t.cols),o}_positions(t){let e=t.flatMap(({rows:s,index:o})=>[s.at,this._index(o),s.rows>1?1:0]);return this._placed(Int32Array.from(e))}attention(t,e,s,o,r){let i=this._matrix(r,e.length*s),{rows:a,index:c}=t,[l,f]=[a.rows>1?1:0,a.cols/s],[u,m]=[this._index(c),this._positions(e)];return this.f.attention(a.at,u,l,m,e.length,s,f,o,i.at,r),i}mixture(t,e,s,o){let{cols:r}=e[0].rows,i=this._matrix(o,r),a=t.rows>1?t.cols:0;return this.f.mixture(t.at,a,this._positions(e),e.length,s,r/s,i.at,o),i}mean(t){let e=this._matrix(1,t.cols);return this.f.mean(t.at,t.rows,t.cols,this._room(8*t.cols),e.at),e}_copy(t){return this.columns(t,0,t.cols)}replaced(t,e,s){let o=this._copy(t),r=this._placed(Int32Array.from(e));return this.f.replace(r,e.length,s.at,s.rows>1?s.cols:0,o.at,t.rows,t.cols),o}waves(t,e,{m:s,sums:o}){let r=this._room(8*s*t.cols),i=this._index(o);this.f.by_sum(t.at,i,r,t.rows,s,t.cols);let a=new Float64Array(this.f.memory.buffer,r,s*t.cols),c=a.map(f=>f/s);a.set(pt(c,s,t.cols,e,this._basis(s)));let l=this._matrix(t.rows,t.cols);return this.f.of_sum(r,i,l.at,t.rows,t.cols),l}tuning(t,{m:e,order:s}){let{at:o,purity:r}=this._tuned(t,{m:e,order:s}),i=this.f.memory.buffer;return{freq:new Int32Array(i,o,t.cols).slice(),purity:new Float64Array(i,r,t.cols).slice()}}_tuned(t,{m:e,order:s}){let o=this._basis(e),{cols:r}=t,i=8*Math.ceil(r/8),a=[this._index(s),this._placed(o),this._placed(Float32Array.from(o))],l=[4*e*r,4*e*r,4*e*i,8*r,8*r,8*(4*(e>>1)+2*e)*r].map(m=>this._room(m)),[f,u]=[this._room(4*r),this._room(8*r)];return this.f.tuning(t.at,...a,e,r,...l,f,u),{at:f,purity:u}}polynomial(t,e,{m:s,order:o}){let{at:r}=this._tuned(t,{m:s,order:o}),i=this._copy(t),a=[this._placed(e),e.length,r,this._index(o),this._placed(this._basis(s))];return this.f.polynomial(...a,this._room(24*s),i.at,s,t.cols),i}scores(t,{labels:e,isTrain:s}){let o=this._room(48);this.f.scores(t.at,this._index(e),this._index(s),t.rows,t.cols,o);let[r,i,a,c,l,f]=new Float64Array(this.f.memory.buffer,o,6);return{train_loss:r/l,test_loss:i/f,train_acc:a/l,test_acc:c/f}}};var Qt=["attn.W_Q","attn.b_Q","attn.W_K","attn.b_K","attn.W_V","attn.b_V","attn.W_O"],Et={"mlp.W_in":-1,"mlp.b_in":-1,"mlp.W_out":-2},Gt=["scale","patch","move"],kn=["embed","attention","mlp","unembed","normalization"];function St(n){let t=n.split("."),e=t.at(-2);if(t[0]==="embed"||t[0]==="pos_embed")return"embed";if(t[0]==="unembed")return"unembed";if(t[0]==="ln_final"||e==="ln1"||e==="ln2")return"normalization";if(e==="attn")return"attention";if(e==="mlp")return"mlp";throw new Error(`no role is known for a tensor named '${n}'`)}var $n=n=>n.split(".").at(-1).startsWith("b");function vn(n){let t="";for(let e=0;e<n.length;e++){let s=n[e]==="["?n.indexOf("]",n[e+1]==="!"?e+3:e+2):-1;if(n[e]==="*")t+=".*";else if(n[e]==="?")t+=".";else if(s>0){let o=n.slice(e+1,s).replace(/\\/g,"\\\\").replace(/^!/,"^");t+=`[${o}]`,e=s}else t+=n[e].replace(/[.+^${}()|[\]\\]/g,"\\$&")}return new RegExp(`^(?:${t})$`,"s")}function _n(n,t){let e=[];if(kn.includes(t))e=n.filter(s=>St(s)===t);else for(let s of[t,`${t}.*`])e.length||(e=n.filter(o=>vn(s).test(o)));if(!e.length)throw new Error(`no tensor matches '${t}'; there are ${n.join(", ")}`);return e}var ot=n=>n.reduce((t,e)=>t*e,1),Mn=n=>Array.from({length:n},(t,e)=>e),An=n=>1+Math.max(...[...n.keys()].map(t=>Number(/^blocks\.(\d+)\./.exec(t)?.[1]??-1)));function On(n,t){let e=[...n.keys()],s=/^(?:layer\s+(\d+)\s+)?(head|neuron)\s+((?:\d+\s*,\s*)*\d+)$/.exec(t.trim())??/^blocks\.(\d+)\.attn\.(head)\.(\d+)$/.exec(t);if(!s)return _n(e,t).map(f=>({name:f,axis:0,indices:null}));let o=s[1]===void 0?An(n)-1:Number(s[1]),r=[...new Set(s[3].match(/\d+/g).map(Number))].sort((f,u)=>f-u),i=new Map,a=n.has(`blocks.${o+1}.mlp.W_in`)?`blocks.${o+1}.mlp.W_in`:"unembed.W_U";if(s[2]==="head")for(let f of Qt)i.set(`blocks.${o}.${f}`,0);else{for(let[f,u]of Object.entries(Et))i.set(`blocks.${o}.${f}`,u);n.has(`blocks.${o}.mlp.W_out`)||i.set(a,-2)}let c=e.filter(f=>i.has(f)).map(f=>{let u=n.get(f).shape.length;return{name:f,axis:i.get(f)<0?u+i.get(f):i.get(f),indices:r}}),l=c.length?n.get(c[0].name).shape[c[0].axis]:0;if(r.some(f=>f>=l))throw new Error(`no ${t}: there are ${l} in layer ${o}`);return c}function En({axis:n,indices:t},e){let s=ot(e);if(!t)return Int32Array.from({length:s},(a,c)=>c);let o=ot(e.slice(n+1)),r=new Int32Array(s/e[n]*t.length),i=0;for(let a=0;a<s;a+=o*e[n])for(let c of t)for(let l=0;l<o;l++)r[i++]=a+c*o+l;return r}function Yt(n,t,e){let[,s,o]=/^(blocks\.\d+)\.(.*)$/.exec(n)??[null,"",n];if(e==="global")return{group:"",axes:[]};if(e==="role")return{group:St(n),axes:[]};if(e==="tensor")return{group:n,axes:[]};if(e==="neuron"){if(t.length<2||$n(n))return null;let r=St(n)==="embed"?t.length-2:t.length-1;return{group:n,axes:[...Mn(t.length-2),r]}}if(e!=="head"&&e!=="part")throw new Error(`no grain '${e}'`);return Qt.includes(o)?{group:`${s} head`,axes:[0]}:e==="head"?null:Object.hasOwn(Et,o)?{group:`${s} neuron`,axes:[t.length+Et[o]]}:{group:n,axes:[]}}function Jt(n,t){let e=new Int32Array(ot(n));for(let s of t){let o=ot(n.slice(s+1));for(let r=0;r<e.length;r++)e[r]=e[r]*n[s]+Math.floor(r/o)%n[s]}return e}function Xt(n,t,e){let s=new Map;for(let{name:o,at:r}of t){let{shape:i,data:a}=n.get(o),c=Yt(o,i,e);if(!c)continue;let l=ot(c.axes.map(m=>i[m]));s.has(c.group)||s.set(c.group,new Float64Array(l));let[f,u]=[s.get(c.group),Jt(i,c.axes)];for(let m of r)f[u[m]]+=a[m]*a[m]}return new Map([...s].map(([o,r])=>[o,r.map(Math.sqrt)]))}function Sn(n,t,e,s){let[o,r]=[n,t].map(m=>Xt(m,e,"global").get("")[0]),i=0,a=0;for(let{name:m,at:g}of e){let[d,p]=[n,t].map(h=>h.get(m).data);for(let h of g)i+=(d[h]/o-p[h]/r)**2,a+=(d[h]/o+p[h]/r)**2}let c=2*Math.atan2(Math.sqrt(i),Math.sqrt(a));if(!(c<Math.PI-1e-6))throw new Error("no great circle leads from a network to one opposite, or to zero");let[l,f]=[1-s,s].map(m=>c>0?Math.sin(m*c)/Math.sin(c):m),u=(1-s)*o+s*r;return[l/o*u,f/r*u]}function Nn(n,t,e,s){return n.kind==="scale"?[n.factor,0]:n.kind==="patch"?[0,1]:n.path==="great_circle"?Sn(t,e,s,n.t):[1-n.t,n.t]}function Ln({what:n,grain:t="global"},e,s,o,r){let[i,a]=n==="radius"?[s,e]:[e,s],[c,l]=[i,a].map(f=>Xt(f,o,t));for(let{name:f,at:u}of o){let{shape:m,data:g}=a.get(f),d=Yt(f,m,t);if(!d)continue;let p=Jt(m,d.axes),h=c.get(d.group).map((y,b)=>l.get(d.group)[b]>0?y/l.get(d.group)[b]:0),w=r(f);for(let y of u)w[y]=g[y]*h[p[y]]}}function Zt(n,t,e={}){let s=n;for(let o of t){if(o.kind==="ablate")continue;if(!Gt.includes(o.kind))throw new Error(`no edit '${o.kind}'; there are ${Gt.join(", ")}, ablate`);let r=s,i=On(r,o.weights??"*").map(l=>({name:l.name,at:En(l,r.get(l.name).shape)})),a=o.kind==="scale"?null:qn(o.source??"source",e,r,i);s=new Map(r);let c=l=>{let{shape:f,data:u}=r.get(l);return s.set(l,{shape:f,data:u.slice()}),s.get(l).data};if(o.kind==="patch"&&(o.what??"weights")!=="weights")Ln(o,r,a,i,c);else{let[l,f]=Nn(o,r,a,i);for(let{name:u,at:m}of i){let[g,d,p]=[r.get(u).data,(a??r).get(u).data,c(u)];for(let h of m)p[h]=l*g[h]+f*d[h]}}}return s}function qn(n,t,e,s){let o=t[n];if(!o)throw new Error(`no checkpoint is given under the name '${n}'`);for(let r of s){let[i,a]=[e,o].map(c=>String(c.get(r.name)?.shape));if(i!==a)throw new Error(`${r.name} is of shape ${i}; in '${n}' of ${a}`)}return o}var Nt={transformer:Dt,embedding_mlp:dt,quadratic_mlp:dt,dense:dt},rt=class n{constructor(t){this.arithmetic=t}static async load(t){if(!t)return new n(new ht);let{instance:e}=await WebAssembly.instantiate(t,{});return new n(new mt(e))}network({model:t,task:e,weights:s}){return new Lt(this.arithmetic,t,e instanceof Z?e:new Z(e),s)}};function te(n){return n instanceof Map?n:new Map(Object.entries(n))}var Lt=class{constructor(t,e,s,o){if(!Nt[e.kind])throw new Error(`no network of kind '${e.kind}'; got ${Object.keys(Nt)}`);Object.assign(this,{x:t,model:e,task:s,weights:te(o)}),this.layers=e.n_layers??e.depth??1}run(t=[],{sources:e={},keep:s=[]}={}){let o=Object.fromEntries(Object.entries(e).map(([f,u])=>[f,te(u)])),r=Zt(this.weights,t,o);this.x.begin();let i=Vt(t,this.layers-1);for(let{layer:f,said:u}of i)if(f>=this.layers)throw new Error(`no ${u}: there are ${this.layers} layers, from 0`);let a=Nt[this.model.kind](this.x,this.model,f=>this._matrix(r,f),i,this.task),c=f=>this.x.read(f),l={neurons:a.post,reads:a.pre,pattern:a.pattern};return{...this.x.scores(a.logits,this.task),logits:c(a.logits),classes:a.logits.cols,...Object.fromEntries(s.filter(f=>l[f]).map(f=>[f,c(l[f])]))}}_matrix(t,e){let{shape:s,data:o}=t.get(e)??{};if(!o)throw new Error(`the network has no tensor ${e}`);if(s.length===1||/\.b_[QKV]$/.test(e))return this.x.put(1,o.length,o);if(s.length===2)return this.x.put(...s,o);let[r,i,a]=s;if(e.endsWith("W_O"))return this.x.put(r*i,a,o);let c=new o.constructor(o.length);for(let l=0;l<r;l++)for(let f=0;f<i;f++)for(let u=0;u<a;u++)c[f*r*a+l*a+u]=o[(l*i+f)*a+u];return this.x.put(i,r*a,c)}};var at={off:[],where:"waves",heads:[],parts:[],neurons:[],fill:"zero",radius:0,way:0,taken:!1,what:"weights",weights:"*"},qt={wayTo:null,from:null},gt=[...Object.keys(at),...Object.keys(qt)],ee=n=>[...n].sort((t,e)=>t-e).join(",");function tt(n){let t=[];n.taken&&n.from&&t.push({kind:"patch",source:"there",weights:n.weights,what:n.what}),n.way&&n.wayTo&&t.push({kind:"move",source:"end",t:n.way/100,path:"great_circle"}),n.radius&&t.push({kind:"scale",factor:(100+n.radius)/100});for(let e of n.parts)t.push(e==="pattern"?{kind:"ablate",part:e}:{kind:"ablate",part:e,fill:n.fill});for(let e of[...n.heads].sort((s,o)=>s-o))t.push({kind:"ablate",part:`head ${e}`,fill:n.fill});return n.neurons.length&&t.push({kind:"ablate",part:`neuron ${ee(n.neurons)}`,fill:n.fill}),n.off.length&&t.push({kind:"ablate",part:`${n.where} ${ee(n.off)}`,...n.where==="cluster"?{fill:n.fill}:{}}),t}function wt(n){let t={};return n.taken&&n.from&&(t.there=n.from),n.way&&n.wayTo&&(t.end=n.wayTo),t}function it(n,t,e,s){let[o,r,i]=[-1/0,-1/0,0];for(let l=0;l<e;l++){let f=n[t*e+l];i+=f/e,f>o&&(o=f),l!==s&&f>r&&(r=f)}let a=0;for(let l=0;l<e;l++)a+=Math.exp(n[t*e+l]-o);let c=n[t*e+s];return{margin:c-r,loss:Math.log(a)+o-c,right:c-i,probability:Math.exp(c-o)/a}}var It=n=>n<=10?n/10:1+Math.log10(n/10),In=n=>n<=1?n*10:10*10**(n-1);function jn(n,t){let s=[0,...n.events.filter(o=>t.every(r=>r.event(o.name))).map(o=>o.by),n.last];return[...new Set(s)].filter(o=>o<=n.last).sort((o,r)=>o-r)}function bt(n,t,e){if(n==="events"){let o=jn(t,e),r=o.length-1;return{at(i){let a=0;for(;a<r-1&&i>o[a+1];)a++;return(a+(i-o[a])/(o[a+1]-o[a]))/r},step(i){let a=Math.min(r-1,Math.max(0,Math.floor(i*r)));return o[a]+(i*r-a)*(o[a+1]-o[a])},ticks:o}}let s=Math.max(1,...e.map(o=>o.last));if(n==="log"){let o=[0,10,100,1e3,1e4,1e5,1e6].filter(r=>r<=s);return{at:r=>It(r)/It(s),step:r=>In(r*It(s)),ticks:o}}return{at:o=>o/s,step:o=>o*s,ticks:ct(0,s,5)}}function ct(n,t,e){if(!(t>n))return[n];let s=(t-n)/e,o=10**Math.floor(Math.log10(s)),r=[1,2,5,10].find(a=>a*o>=s)*o,i=[];for(let a=Math.ceil(n/r-1e-9);a*r<=t+1e-9*r;a++)i.push(Number((a*r).toPrecision(12)));return i}function E(n,t=3){if(n==null||Number.isNaN(n))return"–";if(n===0)return"0";let e=Math.abs(n);return e>=1e5||e<.001?n.toExponential(Math.max(0,t-1)).replace("e+","e").replace("-","−"):Number.isInteger(n)?String(n).replace("-","−"):n.toPrecision(t).replace("-","−")}var I=n=>String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g," ");var ne=3;function se({runs:n,state:t,kernel:e,host:s}){let o=new Map,r=new Map,i=new Set;function a(){let{a:y,b,at:k,axis:M}=t.now,$=[n[y],...b>=0&&b!==y?[n[b]]:[]],O=$.map(A=>bt(M,A,$)),_=n[y].steps[k];return $.map((A,S)=>{let N=S?A.nearest(O[S].step(O[0].at(_))):k;return{run:A,axis:O[S],at:N,step:A.steps[N]}})}let c=()=>{let{run:y,step:b}=a()[0];return y.nearestWithWeights(b)},l=(y=a()[0].run,b=c())=>y.weights.get(b);function f(y,b){let k=`${y.index}@${b}`;if(!r.has(k)){r.size>=ne&&r.delete(r.keys().next().value);let M=O=>y.arrays[`task/${O}`]?.data,$={p:y.p,operation:y.operation,labels:M("labels"),is_train:M("is_train")};for(let O of["inputs","features"])M(O)&&($[O]=M(O));r.set(k,e.network({model:y.model,task:$,weights:y.weights.get(b)}))}return r.get(k)}function u(){let{run:y}=a()[0],b=c();if(b===void 0||!y.arrays["task/labels"])return;let k=`${y.index}@${b}`;return o.has(k)||(o.size>=ne&&o.delete(o.keys().next().value),o.set(k,Cn(f(y,b).run([],{keep:["neurons","pattern"]}),y))),o.get(k)}function m(){let{run:y}=a()[0],b=c(),k=tt(t.now);if(!k.length||b===void 0)return;let M={};for(let[$,[O,_]]of Object.entries(wt(t.now)))if(M[$]=n[O].weights.get(_),!M[$])throw new Error(`the weights of ${n[O].name} at step ${_} are on their way`);return oe(f(y,b).run(k,{sources:M}),y)}function g(y,b){let k=`${y.index}@${b}`;!s?.weights||y.weights.has(b)||i.has(k)||(i.add(k),s.weights(y.index,b))}function d(y,b,k){for(let[M,$]of Object.entries(k))n[y].add(b,M,$);t.set({arrived:`${y}@${b}`})}function p(y){let{run:b,axis:k}=a()[0],M=0;for(let $=0;$<b.steps.length;$++)Math.abs(k.at(b.steps[$])-y)<Math.abs(k.at(b.steps[M])-y)&&(M=$);t.set({at:M})}function h(y,b){let k=t.now[y];t.set({[y]:k.includes(b)?k.filter(M=>M!==b):[...k,b]})}function w(y){let{step:b}=a()[0],k=c();return k===b?y:`${y} (weights: step ${I(k)})`}return{runs:n,state:t,shown:a,weights:l,weightsStep:c,network:u,edited:m,request:g,received:d,pick:p,toggle:h,weightsNote:w}}function oe(n,t){let e=t.arrays["task/labels"].data,s=e.length,[o,r]=[0,0];for(let a=0;a<s;a++){let c=it(n.logits,a,n.classes,e[a]);o+=c.loss/s,r+=c.margin>0}let i=t.split_is_known?{}:{train_loss:NaN,test_loss:NaN,train_acc:NaN,test_acc:NaN};return{...n,...i,all_loss:o,all_acc:r/s}}function Cn(n,t){let e=t.arrays["task/labels"].data.length,s=n.neurons.length/e,o=t.model.n_heads??0,r=n.pattern?n.pattern.length/e/o:0,i;return{scores:oe(n,t),classes:n.classes,width:s,logits:()=>n.logits,neuron:a=>Float32Array.from({length:e},(c,l)=>n.neurons[l*s+a]),pattern:()=>i??=Array.from({length:o},(a,c)=>Array.from({length:r},(l,f)=>Float32Array.from({length:e},(u,m)=>n.pattern[(m*r+f)*o+c])))}}var zn="http://www.w3.org/2000/svg";function re(n,t,e){for(let[s,o]of Object.entries(t??{}))o==null||o===!1||(s.startsWith("on")?n.addEventListener(s.slice(2),o):s==="text"?n.textContent=o:s==="value"?n.value=o:n.setAttribute(s,o===!0?"":String(o)));return n.append(...e.flat().filter(s=>s!=null&&s!==!1)),n}var x=(n,t,...e)=>re(document.createElement(n),t,e),v=(n,t,...e)=>re(document.createElementNS(zn,n),t,e);function q(n,{wide:t=!1,note:e="",id:s=""}={}){let o=x("span",{class:"note",text:e}),r=x("div",{class:"body"}),i=x("span",{class:"tools"}),a=x("header",{},x("h2",{text:n}),o,i);return{el:x("section",{class:t?"panel wide":"panel",id:s,"aria-label":n},a,r),body:r,tools:i,say:l=>o.textContent=l}}function U(n,t,e,s){let o=Object.entries(t).map(([a,c])=>x("button",{type:"button","data-value":a,"aria-pressed":String(a===e),text:c,onclick:()=>i(a,!0)})),r=x("span",{class:"choice",role:"group","aria-label":n},o);function i(a,c){for(let l of o)l.setAttribute("aria-pressed",String(l.dataset.value===a));c&&s(a)}return{el:r,set:i}}function et(n,{value:t,min:e,max:s,step:o=1,change:r}){let i=x("input",{type:"number",value:t,min:e,max:s,step:o,"aria-label":n});return i.addEventListener("change",()=>{let a=Number(i.value);i.value=Math.min(Number(i.max),Math.max(Number(i.min),Number.isFinite(a)?a:Number(i.min))),r(Number(i.value))}),{el:x("label",{class:"field"},x("span",{text:n}),i),input:i}}function j(n,t,e,s){let o=x("select",{"aria-label":n,onchange:()=>s(o.value)}),r=(i,a)=>{o.replaceChildren(...i.map(([c,l])=>x("option",{value:c,text:l}))),a!==void 0&&(o.value=a)};return r(t,e),{el:x("label",{class:"field"},x("span",{text:n}),o),input:o,fill:r}}function P(n,t){new ResizeObserver(()=>n.isConnected&&t()).observe(n)}var yt=class{constructor(t,e,s){Object.assign(this,t),this.index=s;let o=`${s}/`;this.arrays={},this.weights=new Map;for(let[r,i]of Object.entries(e)){if(!r.startsWith(o))continue;let a=r.slice(o.length),c=/^weights\/(\d+)\/(.+)$/.exec(a);c?this.add(Number(c[1]),c[2],i):this.arrays[a]=i}this.steps=this.arrays.steps.data,this.last=this.steps[this.steps.length-1],this.rows=new Map(this.columns.map((r,i)=>[r,i]))}add(t,e,s){this.weights.has(t)||this.weights.set(t,{}),this.weights.get(t)[e]=s}column(t){let e=this.rows.get(t),s=this.steps.length;return e===void 0?void 0:this.arrays.table.data.subarray(e*s,(e+1)*s)}history(t){let e=this.arrays[`history/${t}`];return e&&[this.arrays["history/step"].data,e.data]}spectrum(t,e){if(t==="W_E"||t==="W_L"){let s=[];for(let o=1;this.rows.has(`power_${t}[${o}]`);o++)s.push(this.column(`power_${t}[${o}]`)[e]);return s}return this.row(`spectrum ${t}`,e)}row(t,e){let s=this.arrays[t];if(!s)return;let o=s.shape[1];return s.data.subarray(e*o,(e+1)*o)}neurons(t){let e=o=>this.row(`neuron ${o}`,t);if(!e("freq"))return;let s=o=>Float32Array.from(e(o),r=>r/32767*Math.PI);return{freq:e("freq"),purity:Float32Array.from(e("purity"),o=>o/65535),u:s("u"),v:s("v"),out:s("out")}}nearest(t){let e=0;for(let s=0;s<this.steps.length;s++)Math.abs(this.steps[s]-t)<Math.abs(this.steps[e]-t)&&(e=s);return e}nearestWithWeights(t){let e;for(let s of this.weights.keys())(e===void 0||Math.abs(s-t)<Math.abs(e-t))&&(e=s);return e}event(t){return this.events.find(e=>e.name===t)}};function xt(n){let t={...n},e=new Set,s=new Set;function o(){let i=e;e=new Set;for(let a of[...s])s.has(a)&&a(t,i)}let r={get now(){return t},set(i){for(let[a,c]of Object.entries(i))t[a]!==c&&(e.size||queueMicrotask(o),t={...t,[a]:c},e.add(a))},on(i,a){let c=(l,f)=>{i.some(u=>f.has(u))&&a(l,f)};return s.add(c),a(t,new Set(i)),()=>s.delete(c)},scope(){let i=[];return{get now(){return t},set:r.set,on:(a,c)=>i.push(r.on(a,c)),close:()=>i.forEach(a=>a())}}};return r}var ae=70,lt=14,jt=14,B=38;function ie(n){let{state:t,runs:e}=n,s=v("svg",{class:"strip-line","aria-hidden":"true"}),o=x("div",{class:"slider",role:"slider",tabindex:0,"aria-label":"checkpoint","aria-valuemin":0},s),r=x("button",{type:"button",class:"play",onclick:()=>t.set({playing:!t.now.playing})}),i=x("output",{class:"where","aria-live":"off"}),a=U("axis of time",{linear:"linear",log:"log",events:"by events"},t.now.axis,g=>t.set({axis:g})),c=[];if(e.length>1){let g=e.map((h,w)=>[String(w),h.name]),d=j("run",g,String(t.now.a),h=>{let w=e[Number(h)];t.set({a:Number(h),at:w.nearest(n.shown()[0].step)})}),p=j("beside",[["-1","no other"],...g],String(t.now.b),h=>t.set({b:Number(h)}));t.on(["a","b"],h=>{d.input.value=String(h.a),p.input.value=String(h.b)}),c.push(d.el,p.el)}let l=x("div",{class:"time"},x("div",{class:"time-row controls"},r,i,a.el,...c),o);function f(g){let{run:d,axis:p,step:h}=n.shown()[0],w=s.getBoundingClientRect().width||900;s.setAttribute("viewBox",`0 0 ${w} ${ae}`);let y=$=>lt+p.at($)*(w-lt-jt),b=d.phases.map(($,O)=>{let[_,A]=[y($.from),y($.to??d.last)];return v("g",{},v("rect",{class:`band tone${O}`,x:_,width:Math.max(0,A-_),y:B-9,height:25}),A-_>7*$.name.length&&v("text",{class:"band-label",x:(_+A)/2,y:B+12,text:$.name}))});b.push(v("line",{class:"axis",x1:lt,x2:w-jt,y1:B,y2:B}));let k=[-1/0,-1/0];for(let $ of d.events){let O=y($.by),_=$.name.length*5.4;b.push(v("path",{class:"event",d:`M${O} ${B-9}l-4 -6h8z`},v("title",{text:`${$.name}: step ${Math.max(0,$.after)}–${$.by}`})));let A=Math.min(Math.max(O-_/2,2),w-_-2),S=k.findIndex(N=>A>N);S<0||(b.push(v("text",{class:"event-label",x:A,y:20-11*S,text:$.name})),k[S]=A+_+6)}let M=-1/0;for(let $ of p.ticks){let O=I($),_=y($),A=O.length*3.2;_-A<M||(M=_+A+6,b.push(v("text",{class:"tick x",x:Math.min(Math.max(_,A),w-A),y:ae-2,text:O})))}for(let $ of d.steps)b.push(v("line",{class:"checkpoint",x1:y($),x2:y($),y1:B-6,y2:B}));if(!d.everyStep)for(let $ of d.weights.keys())b.push(v("circle",{class:"kept",cx:y($),cy:B,r:3.2},v("title",{text:`weights of step ${$} are on this page`})));b.push(v("line",{class:"thumb",x1:y(h),x2:y(h),y1:B-15,y2:B+15}),v("circle",{class:"thumb",cx:y(h),cy:B,r:7})),s.replaceChildren(...b.flat()),i.replaceChildren(x("b",{text:`step ${I(h)}`}),` of ${I(d.last)}, checkpoint ${g.at+1} of ${d.steps.length}`),r.textContent=g.playing?"❚❚ pause":"▶ play",r.setAttribute("aria-pressed",String(g.playing)),u.set(g.axis),o.setAttribute("aria-valuemax",d.steps.length-1),o.setAttribute("aria-valuenow",g.at),o.setAttribute("aria-valuetext",`step ${h}`)}let u=a;t.on(["at","axis","a","b","playing","arrived"],f),P(s,()=>f(t.now));let m=g=>{let d=s.getBoundingClientRect();n.pick(Math.min(1,Math.max(0,(g.clientX-d.left-lt)/(d.width-lt-jt))))};return o.addEventListener("pointerdown",g=>{o.setPointerCapture(g.pointerId),m(g)}),o.addEventListener("pointermove",g=>g.buttons&&m(g)),{el:l,slider:o}}function ce(n,t){let{state:e}=n,s={ArrowRight:1,ArrowUp:1,ArrowLeft:-1,ArrowDown:-1,PageUp:10,PageDown:-10,Home:-1e9,End:1e9};t.addEventListener("keydown",r=>{if(!(r.target.closest?.("input, select, textarea, pre")||r.ctrlKey||r.metaKey||r.altKey)){if(r.key===" "&&!r.target.closest?.("button"))e.set({playing:!e.now.playing}),r.preventDefault(),r.stopPropagation();else if(r.key in s){let a=n.runs[e.now.a].steps.length-1;e.set({at:Math.min(a,Math.max(0,e.now.at+s[r.key])),playing:!1}),r.preventDefault(),r.stopPropagation()}}});let o;return e.on(["playing"],r=>{if(clearInterval(o),!r.playing)return;let i=n.runs[r.a].steps.length-1;r.at>=i&&e.set({at:0}),o=setInterval(()=>{let{at:a,a:c}=e.now;a>=n.runs[c].steps.length-1?e.set({playing:!1}):e.set({at:a+1})},140)}),()=>clearInterval(o)}function kt(n){return[...JSON.stringify(n)].map(e=>{let s=e.codePointAt(0);return s<127?e:s>65535?`\\U${s.toString(16).padStart(8,"0")}`:`\\u${s.toString(16).padStart(4,"0")}`}).join("")}function Fn(n){return typeof n=="string"?kt(n):String(n)}var Tn=n=>`{${Object.entries(n).map(([t,e])=>`${kt(t)}: ${Fn(e)}`).join(", ")}}`;function le(n,t,e,s,o,r){let i=[t.index,...Object.values(o).map(([l])=>l)],a=new Map([...new Set(i)].map((l,f)=>[l,f?`run_${f+1}`:"run"])),c=[...r?["import torch"]:[],"import circuitgrok as cg","",...[...a].map(([l,f])=>n[l].path===null?`${f} = ...  # ${n[l].name}, as you opened it`:`${f} = cg.load(${kt(n[l].path)})`)];if(t.arrays["task/labels"]){c.push("edits = [",...s.map(f=>`    ${Tn(f)},`),"]"),s.length||c.splice(-2,2,"edits = []");let l=Object.entries(o).map(([f,[u,m]])=>`${kt(f)}: (${a.get(u)}, ${m})`);if(c.push(`result = cg.edited(run, ${e}, edits${l.length?`, sources={${l.join(", ")}}`:""})`),r&&t.split_is_known)for(let f of["train_loss","test_loss","train_acc","test_acc"])c.push(`result.${f}  # ${Number(r[f]).toPrecision(8)}`);r&&c.push(`all_loss = torch.nn.functional.cross_entropy(result.logits, run.task.labels)  # ${Number(r.all_loss).toPrecision(8)}`),c.push("")}return t.model.kind==="transformer"&&c.push(`bridge = cg.lens.bridge(run, ${e})  # the network in TransformerLens, with every hook`),c.push(`row = cg.measure(run, steps=${e})  # every quick measure of this checkpoint`),c.join(`
`)}function fe(n){let t=q("As Python",{note:"gives the numbers above",wide:!0}),e=x("pre",{tabindex:0,"aria-label":"Python lines"}),s=x("button",{type:"button",text:"copy as Python",onclick:async()=>{let o=!0;try{await navigator.clipboard.writeText(e.textContent)}catch{getSelection().selectAllChildren(e),o=document.execCommand("copy")}s.textContent=o?"copied":"select and copy",setTimeout(()=>s.textContent="copy as Python",1500)}});return t.tools.append(s),t.body.append(e),n.state.on([...gt,"opened","result"],o=>{let{run:r}=n.shown()[0];e.textContent=le(n.runs,r,n.weightsStep()??n.shown()[0].step,tt(o),wt(o),o.result??n.network()?.scores)}),t.el}var F=52,Ct=10,T=8,Wn=34;function H(n,t){let e=1/0,s=-1/0;for(let a of n)for(let c of a)!Number.isFinite(c)||t&&c<=0||(c<e&&(e=c),c>s&&(s=c));if(s>=e||([e,s]=t?[.1,1]:[0,1]),t){let[a,c]=[Math.floor(Math.log10(e)+1e-9),Math.max(Math.ceil(Math.log10(s)-1e-9),Math.floor(Math.log10(e))+1)],l=Math.max(1,Math.ceil((c-a)/6)),f=[];for(let u=c;u>=a;u-=l)f.push(10**u);return{at:u=>(Math.log10(Math.max(u,10**a))-a)/(c-a),ticks:f,format:u=>Un(u)}}s===e&&([e,s]=[e-.5,s+.5]);let o=(s-e)*.04,[r,i]=[e-o,s+o];return{at:a=>(a-r)/(i-r),ticks:ct(r,i,5),format:Bn}}var Bn=n=>n&&(Math.abs(n)>=1e5||Math.abs(n)<.001)?E(n):String(n).replace("-","−"),Rn="⁰¹²³⁴⁵⁶⁷⁸⁹";function Un(n){let t=Math.round(Math.log10(n));return t>=-1&&t<=3?String(n):`10${t<0?"⁻":""}${[...String(Math.abs(t))].map(e=>Rn[e]).join("")}`}function Q({xLabel:n,yLabel:t,pick:e,label:s}){let o=x("div",{class:"legend"}),r=v("svg",{class:"chart",role:"img","aria-label":s}),i=x("div",{class:"plot"},o,r),a,c=0,l=0;function f(u){a=u;let m=r.getBoundingClientRect();c=Math.max(160,m.width||360),l=Math.max(120,m.height||210),r.setAttribute("viewBox",`0 0 ${c} ${l}`);let{x:g,y:d,series:p,bands:h=[],now:w=[]}=u,[y,b]=[c-F-Ct,l-T-Wn],k=_=>F+g.at(_)*y,M=_=>T+(1-Math.min(1.02,Math.max(-.02,d.at(_))))*b,$=[];for(let _ of h){let[A,S]=[k(_.from),k(_.to)];$.push(v("rect",{class:`band tone${_.tone}`,x:A,y:T,width:Math.max(0,S-A),height:b}))}for(let _ of d.ticks){let A=M(_);d.at(_)<-.001||d.at(_)>1.001||($.push(v("line",{class:"grid",x1:F,x2:F+y,y1:A,y2:A})),$.push(v("text",{class:"tick y",x:F-6,y:A+3.5,text:d.format(_)})))}let O=-1/0;for(let _ of g.ticks){let A=k(_),S=g.format(_);$.push(v("line",{class:"grid",x1:A,x2:A,y1:T,y2:T+b}));let N=S.length*3;A-N<O+4||(O=A+N,$.push(v("text",{class:"tick x",x:Math.min(A,F+y-N+Ct),y:T+b+13,text:S})))}$.push(v("line",{class:"axis",x1:F,x2:F,y1:T,y2:T+b})),$.push(v("line",{class:"axis",x1:F,x2:F+y,y1:T+b,y2:T+b})),$.push(v("text",{class:"label",x:F+y/2,y:l-5,text:u.xLabel??n})),$.push(v("text",{class:"label",x:0,y:0,transform:`translate(11 ${T+b/2}) rotate(-90)`,text:u.yLabel??t}));for(let _ of p)_.x.length===1&&Number.isFinite(_.y[0])&&$.push(v("circle",{class:"single",cx:k(_.x[0]),cy:M(_.y[0]),r:3,fill:_.colour}));for(let _ of p)$.push(v("path",{class:_.pale?"line pale":"line",d:Pn(_,k,M),stroke:_.colour,"stroke-dasharray":_.dash}));for(let _ of w){let A=k(_.x);_.y===void 0?$.push(v("line",{class:"now",x1:A,x2:A,y1:T,y2:T+b,stroke:_.colour})):$.push(v("circle",{class:"now",cx:A,cy:M(_.y),r:5,fill:_.colour}))}r.replaceChildren(...$),o.replaceChildren(...p.filter(_=>_.label).map(_=>Dn(_)))}if(e){r.classList.add("picked");let u=m=>{let g=r.getBoundingClientRect();e(Math.min(1,Math.max(0,((m.clientX-g.left)*(c/g.width)-F)/(c-F-Ct))),a)};r.addEventListener("pointerdown",m=>{r.setPointerCapture(m.pointerId),u(m)}),r.addEventListener("pointermove",m=>m.buttons&&u(m))}return P(r,()=>a&&f(a)),{el:i,draw:f}}function Pn({x:n,y:t},e,s){let o="",r=!1;for(let i=0;i<n.length;i++){let a=t[i];if(!Number.isFinite(a)){r=!1;continue}o+=`${r?"L":"M"}${e(n[i]).toFixed(1)} ${s(a).toFixed(1)}`,r=!0}return o}function Dn({label:n,colour:t,dash:e,value:s}){let o=v("svg",{class:"swatch",viewBox:"0 0 22 8","aria-hidden":"true"},v("line",{x1:0,x2:22,y1:4,y2:4,stroke:t,"stroke-dasharray":e,"stroke-width":2}));return x("span",{class:"entry"},o,x("span",{text:n}),s===void 0?null:x("b",{text:s}))}var Hn={cross_entropy:"cross-entropy (nats)",stablemax:"stablemax loss (nats)",mse:"mean squared error"},Vn=[{label:"train",history:"train_loss",colour:"var(--blue)"},{label:"test",history:"test_loss",colour:"var(--red)"},{label:"restricted (all)",column:"restricted_loss[all]",colour:"var(--green)",dash:"6 3"},{label:"excluded (train)",column:"excluded_loss[train]",colour:"var(--purple)",dash:"8 3 2 3"}],Kn=[{label:"train",history:"train_acc",colour:"var(--blue)"},{label:"test",history:"test_acc",colour:"var(--red)"},{label:"test, mirror unseen",column:"accuracy[test_mirror_unseen]",colour:"var(--orange)",dash:"2 3"}];function Gn(n,t){if(t.history)return n.history(t.history);if(t.column?.match(/^(restricted|excluded)/)&&n.loss!=="cross_entropy")return;let e=n.column(t.column);return e&&!e.every(Number.isNaN)?[n.steps,e]:void 0}function Qn([n,t],e){let s=0;for(let o=0;o<n.length;o++)Math.abs(n[o]-e)<=Math.abs(n[s]-e)&&(s=o);return t[s]}function ue(n,t){let e=n.shown();return t.flatMap(s=>{let o=e.map(({run:i,step:a})=>({curve:Gn(i,s),step:a})),r=o.filter(i=>i.curve).map(i=>E(Qn(i.curve,i.step))).join(" | ");return o.map(({curve:i},a)=>i&&{label:a?void 0:s.label,colour:s.colour,dash:s.dash,value:r,pale:a>0,x:Array.from(i[0],c=>e[a].axis.at(c)),y:i[1]})}).filter(Boolean)}var Yn={at:n=>n};function de(n){let{axis:t}=n.shown()[0];return{...Yn,ticks:t.ticks.map(e=>t.at(e)),format:e=>I(t.step(e))}}function pe(n){let{run:t,axis:e}=n.shown()[0];return t.phases.map((s,o)=>({from:e.at(s.from),to:e.at(s.to??t.last),tone:o}))}function he(n,{title:t,label:e,yLabel:s,logarithmic:o,list:r,note:i="",domain:a}){let c=q(t,{note:i}),l=Q({xLabel:"optimizer step",yLabel:s,label:e,pick:f=>n.pick(f)});return c.body.append(l.el),n.state.on(["at","axis","a","b"],()=>{let f=ue(n,r);c.say(f.length?i:"not known: the split is a stand-in for the one trained on");let u=a?{at:g=>(g-a[0])/(a[1]-a[0]),ticks:[0,.25,.5,.75,1],format:String}:H(f.map(g=>g.y),o),m=n.shown();l.draw({x:de(n),y:u,series:f,bands:pe(n),yLabel:typeof s=="function"?s(m[0].run):s,now:m.map(({axis:g,step:d},p)=>({x:g.at(d),colour:p?"var(--dim)":"var(--now)"}))})}),c.el}var me=n=>he(n,{title:"Losses",label:"losses against the step",yLabel:t=>Hn[t.loss]??t.loss,logarithmic:!0,list:Vn}),ge=n=>he(n,{title:"Accuracies",label:"accuracies against the step",yLabel:"share of right answers",list:Kn,domain:[-.02,1.02]});function we(n){let t=q("Polar path",{note:"norm against the angle turned since the start"}),e=Q({xLabel:"angle to the start (radians)",yLabel:"norm |θ|",label:"norm against angle"});return t.body.append(e.el),n.state.on(["at","axis","a","b"],()=>{let s=n.shown(),o=s.map(({run:i})=>[i.column("angle_start"),i.column("norm")]),r=H(o.map(i=>i[0]),!1);e.draw({x:r,y:H(o.map(i=>i[1]),!1),series:o.map(([i,a],c)=>({label:c?"other":"path",colour:c?"var(--dim)":"var(--blue)",x:i,y:a,pale:c>0,value:`${E(a[s[c].at])} at ${E(i[s[c].at])} rad`})),now:o.map(([i,a],c)=>({x:i[s[c].at],y:a[s[c].at],colour:c?"var(--dim)":"var(--now)"}))})}),t.el}function be(n){let t=q("A measured column",{}),e=()=>n.shown()[0].run.columns,s=["phase_alignment","frac_explained","norm"].find(i=>e().includes(i))??e()[0],o=j("column",e().map(i=>[i,i]),s,i=>n.state.set({column:i}));t.tools.append(o.el);let r=Q({xLabel:"optimizer step",yLabel:"",label:"a measured column against the step",pick:i=>n.pick(i)});return t.body.append(r.el),n.state.set({column:s}),n.state.on(["at","axis","a","b","column"],i=>{let a=i.column??s,c=ue(n,[{label:a,column:a,colour:"var(--blue)"}]);t.say(n.shown()[0].run.undefined[a]??"");let l=c.flatMap(u=>Array.from(u.y)).filter(Number.isFinite),f=l.length>0&&l.every(u=>u>0)&&Math.max(...l)>1e3*Math.min(...l);r.draw({x:de(n),y:H(c.map(u=>u.y),f),series:c,bands:pe(n),yLabel:a,now:n.shown().map(({axis:u,step:m},g)=>({x:u.at(m),colour:g?"var(--dim)":"var(--now)"}))})}),t.el}var ye={mlp:"MLP",attention:"attention",pattern:"pattern → uniform",skip:"skip"},Jn={waves:"in neurons",excluded:"in logits",cluster:"their neurons"},xe=12,$t=(n,t)=>x("button",{type:"button",class:"chip",text:n,onclick:t}),vt=n=>Array.from({length:n},(t,e)=>e);function ke(n){let{run:t}=n.shown()[0],e=t.model.kind==="transformer",s=Xn(n.state),o=[];return t.missing.spectrum||o.push(["frequencies off",Zn(n,t)]),e&&o.push(["heads, parts off",[...ts(n,t),s]]),t.missing.neurons||o.push(["neurons off",[...es(n),...e?[]:[s]]]),o.push(["radius",[$e(n.state,"radius",-60,100,"change of the radius in percent")]]),o.push(...ns(n,t)),o.map(([r,i])=>x("div",{class:"hand"},x("span",{class:"hand-label",text:r}),x("div",{class:"hand-body"},i)))}function zt(n,t,e,s){let o=new Map(e.map(r=>[r,$t(s(r),()=>n.toggle(t,r))]));return n.state.on([t],r=>o.forEach((i,a)=>i.setAttribute("aria-pressed",String(r[t].includes(a))))),o}function Xn(n){let t=U("what stands in the place",{zero:"zero",mean:"mean"},"zero",e=>n.set({fill:e}));return n.on(["fill"],e=>t.set(e.fill)),t.el}function Zn(n,t){let{state:e}=n,s=zt(n,"off",vt(Math.floor(t.m/2)).map(i=>i+1),String);for(let i of t.key_freqs)s.get(i)?.classList.add("key");let o=$t("all key",()=>e.set({off:t.key_freqs})),r=U("where",Jn,"waves",i=>e.set({where:i}));return e.on(["where"],i=>r.set(i.where)),[x("div",{class:"chips"},o,...s.values()),r.el]}function ts(n,t){let e=zt(n,"heads",vt(t.model.n_heads),o=>`head ${o}`),s=zt(n,"parts",Object.keys(ye),o=>ye[o]);return[e,s].map(o=>x("div",{class:"chips"},...o.values()))}function es(n){let{state:t}=n,e=$t("those of the circle's k",()=>{let{run:a,at:c}=n.shown()[0],{freq:l}=a.neurons(c);t.set({neurons:Array.from(l.keys()).filter(f=>l[f]===t.now.freq)})}),s=$t("none",()=>t.set({neurons:[]})),r=et("one",{value:0,min:0,max:1e6,change:a=>a<(n.network()?.width??0)&&n.toggle("neurons",a)}),i=x("span",{class:"said"});return t.on(["neurons"],a=>{let c=[...a.neurons].sort((f,u)=>f-u).slice(0,xe),l=a.neurons.length>xe?", …":"";i.textContent=a.neurons.length?`${a.neurons.length} off: ${c.join(", ")}${l}`:"none off"}),[e,s,r.el,i]}function ns(n,t){let{state:e,runs:s}=n,o=(d,p)=>`${s.length>1?`${d.name}, `:""}step ${I(p)}`,r=s.flatMap(d=>[...d.everyStep?d.steps:d.weights.keys()].sort((p,h)=>p-h).map(p=>[`${d.index}@${p}`,o(d,p)]));if(!r.length)return[];let i=d=>d.split("@").map(Number),a=(d,p)=>{let h=j(d,r,void 0,w=>e.set({[p]:i(w)}));return e.on([p],w=>h.input.value=w[p].join("@")),h.el},c=r[r.length-1][0];for(let d of["wayTo","from"])e.now[d]||e.set({[d]:i(c)});let l=x("input",{type:"checkbox","aria-label":"transplant"});l.addEventListener("change",()=>e.set({taken:l.checked}));let f=["weights","radius","direction"].map(d=>[d,d]),u=j("take",f,e.now.what,d=>e.set({what:d})),m=j("of",ss(t),e.now.weights,d=>e.set({weights:d}));e.on(["taken","what","weights"],d=>{l.checked=d.taken,u.input.value=d.what,m.input.value=d.weights});let g=x("label",{class:"field"},l,x("span",{text:"on"}));return[["along the path",[$e(e,"way",0,100,"share of the way in percent"),a("to","wayTo")]],["transplant",[g,u.el,m.el,a("from","from")]]]}function ss(n){let t=[["*","all weights"],["embed","embedding"],["attention","attention"],["mlp","MLP"],["unembed","unembedding"]],{kind:e,n_layers:s,n_heads:o}=n.model;if(e!=="transformer"){let a=e==="embedding_mlp"?["attention"]:["attention","embed"];return t.filter(([c])=>!a.includes(c))}let r=s>1?vt(s).map(a=>[`blocks.${a}`,`layer ${a}`]):[],i=vt(s*o).map(a=>{let[c,l]=[Math.floor(a/o),a%o],f=s>1?`layer ${c} head ${l}`:`head ${l}`;return[c<s-1?f:`head ${l}`,f]});return[...t,...r,...i]}function $e(n,t,e,s,o){let r=x("input",{type:"range",min:e,max:s,step:1,"aria-label":o}),i=x("output");return r.addEventListener("input",()=>n.set({[t]:Number(r.value)})),n.on([t],a=>{r.value=a[t],i.textContent=`${e<0&&a[t]>0?"+":""}${a[t]} %`}),x("label",{class:"field long"},r,i)}var os=[["train_loss","train loss (nats)"],["test_loss","test loss (nats)"],["all_loss","loss of all (nats)"],["train_acc","train accuracy"],["test_acc","test accuracy"],["all_acc","accuracy of all"]];function ve(n){let t=q("Hands on the model",{wide:!0}),{state:e}=n;t.tools.append(x("button",{type:"button",text:"undo all",onclick:()=>e.set(at)}));let s=x("table",{class:"scores"}),o=x("p",{class:"said",role:"status"}),r=x("div",{class:"hands controls"},ke(n));return t.body.append(x("div",{class:"hands-grid"},r,x("div",{},s,o))),e.on([...gt,"opened","arrived"],i=>{let a=n.network()?.scores;if(!a)return;let c=performance.now(),{found:l,wrong:f}=rs(()=>n.edited()),u=Math.max(1,Math.round(performance.now()-c));e.set({result:l});let m=tt(i).length;o.textContent=f??(m?`${m} edit${m>1?"s":""}, computed in this page in ${u} ms`:"nothing is changed"),s.replaceChildren(...as(a,l));let{run:g}=n.shown()[0],d=g.temperature===1?"":`; losses of the logits as they are, not divided by ${g.temperature}`;t.say(`at step ${I(n.weightsStep())}${d}`)}),t.el}function rs(n){try{return{found:n()}}catch(t){return{wrong:t.message}}}function as(n,t){let e=(r,i)=>x("td",{text:r?E(r[i],5):"–","data-value":r?.[i]??""}),s=([r,i])=>x("tr",{"data-score":r},x("th",{scope:"row",text:i}),e(n,r),e(t,r)),o=["","as it is","edited"].map(r=>x("th",{scope:"col",text:r}));return[x("thead",{},x("tr",{},o)),x("tbody",{},os.map(s))]}var _e="00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",Me="0b3c6f 1f5f9b 4a86bd 86b0d6 bfd6e8 eef0f0 f5d9bd eeb27d dd843f c45a16 8a3a06",is=n=>n.split(" ").map(t=>[0,2,4].map(e=>parseInt(t.slice(e,e+2),16)));function Ae(n){let t=is(n),e=t.length-1,s=new Uint8Array(256*3);for(let o=0;o<256;o++){let r=o/255*e,i=Math.min(e-1,Math.floor(r)),a=r-i;for(let c=0;c<3;c++)s[3*o+c]=Math.round(t[i][c]*(1-a)+t[i+1][c]*a)}return s}var Oe=Ae(_e),cs=Ae(Me),ls=n=>`linear-gradient(to right, ${n.split(" ").map(t=>`#${t}`).join(",")})`;function fs(n,t){let e=1/0,s=-1/0;for(let o of n)Number.isFinite(o)&&(o<e&&(e=o),o>s&&(s=o));if(!(s>=e))return[0,1];if(t){let o=Math.max(Math.abs(e),Math.abs(s))||1;return[-o,o]}return s>e?[e,s]:[e,e+1]}function nt({label:n,rowLabel:t,columnLabel:e,pick:s,bar:o=!0,small:r=!1}){let i=x("canvas",{role:"img","aria-label":n}),a=x("i",{class:"mark",hidden:!0}),c=x("div",{class:"frame"},i,a),l=x("span",{class:"reading"}),[f,u]=[x("span"),x("span")],m=x("i",{class:"scale"}),g=r?x("div",{class:"small-title"}):null,d=x("figure",{class:r?"heat small":"heat"},g,x("div",{class:"row-label",text:t}),c,x("div",{class:"column-label",text:e}),o?x("div",{class:"bar"},f,m,u,l):null),p;function h(b){p=b;let{values:k,rows:M,columns:$,signed:O=!1}=b,[_,A]=b.limits??fs(k,O),S=O?cs:Oe;i.width=$,i.height=M;let N=i.getContext("2d"),C=N.createImageData($,M);for(let W=0;W<M*$;W++){let L=k[W],z=Number.isFinite(L),_t=3*Math.max(0,Math.min(255,Math.round((L-_)/(A-_||1)*255)));for(let V=0;V<3;V++)C.data[4*W+V]=z?S[_t+V]:128;C.data[4*W+3]=z?255:40}N.putImageData(C,0,0),c.style.aspectRatio=`${$} / ${M}`,f.textContent=E(_),u.textContent=E(A),m.style.background=ls(O?Me:_e),g&&(g.textContent=b.title??""),a.hidden=!b.mark,b.mark&&(a.style.left=`${(b.mark[1]+.5)/$*100}%`,a.style.top=`${(b.mark[0]+.5)/M*100}%`),w(b.mark)}function w(b){let k=b&&p.read?p.read(b[0],b[1],p.values[b[0]*p.columns+b[1]]):"";l.textContent=k}let y=b=>{let k=i.getBoundingClientRect(),M=Math.floor((b.clientY-k.top)/k.height*p.rows),$=Math.floor((b.clientX-k.left)/k.width*p.columns);return M>=0&&$>=0&&M<p.rows&&$<p.columns?[M,$]:void 0};return i.addEventListener("pointermove",b=>{if(!p)return;let k=y(b);w(k??p.mark),g&&k&&p.read&&(i.title=p.read(...k,p.values[k[0]*p.columns+k[1]]))}),i.addEventListener("pointerleave",()=>p&&w(p.mark)),s&&(i.classList.add("picked"),i.addEventListener("click",b=>{let k=p&&y(b);k&&s(...k)})),{el:d,draw:h}}function Ee(n){let t=3*Math.max(0,Math.min(255,Math.round(n*255))),[e,s,o]=Oe.subarray(t,t+3);return{css:`rgb(${e} ${s} ${o})`,ink:.299*e+.587*s+.114*o<128?"#fff":"#000"}}function us(n){let t=[new Float64Array(n).fill(1/Math.sqrt(n))];for(let e=1;e<=n/2;e++){let[s,o]=[new Float64Array(n),new Float64Array(n)];for(let r=0;r<n;r++){let i=2*Math.PI*(e*r%n)/n;s[r]=Math.cos(i)*Math.sqrt((2*e===n?1:2)/n),o[r]=Math.sin(i)*Math.sqrt(2/n)}t.push(s),2*e!==n&&t.push(o)}return t}function Se(n,t){let e=us(t),s=Math.floor(t/2)+1,o=new Float64Array(t*t);for(let i=0;i<t;i++)for(let a=0;a<t;a++){let c=e[i][a];for(let l=0;l<t;l++)o[i*t+l]+=c*n[a*t+l]}let r=new Float64Array(s*s);for(let i=0;i<t;i++){let a=Math.ceil(i/2);for(let c=0;c<t;c++){let l=0;for(let f=0;f<t;f++)l+=o[i*t+f]*e[c][f];r[a*s+Math.ceil(c/2)]+=l*l}}return{norms:r.map(Math.sqrt),n:s}}function Ne(n,t,e,s){let[o,r]=[new Float64Array(e),new Float64Array(e)];for(let u=0;u<t;u++){let m=2*Math.PI*(s*u%t)/t;for(let g=0;g<e;g++)o[g]+=Math.cos(m)*n[u*e+g],r[g]+=Math.sin(m)*n[u*e+g]}let i=(u,m)=>u.reduce((g,d,p)=>g+d*m[p],0),a=Math.sqrt(i(o,o))||1;o.forEach((u,m)=>o[m]=u/a);let c=i(o,r);r.forEach((u,m)=>r[m]=u-c*o[m]);let l=Math.sqrt(i(r,r))||1;r.forEach((u,m)=>r[m]=u/l);let f=new Float64Array(e);for(let u=0;u<t;u++)for(let m=0;m<e;m++)f[m]+=n[u*e+m]/t;return Array.from({length:t},(u,m)=>{let[g,d]=[0,0];for(let p=0;p<e;p++){let h=n[m*e+p]-f[p];g+=h*o[p],d+=h*r[p]}return[g,d]})}function Ft(n,t,e=1,s=0){let o=n.arrays["task/pairs"].data;return Float32Array.from(o,r=>t[r*e+s])}function D(n){let[t,e,s]=[n.arrays["task/pairs"].data,n.arrays["task/inputs"].data,n.m],o=new Map;return t.forEach((r,i)=>o.set(`${e[3*r]},${e[3*r+1]}`,i)),{place:([r,i])=>{let a=o.get(`${r},${i}`);return a===void 0?void 0:[Math.floor(a/s),a%s]},pair:(r,i)=>{let a=t[r*s+i];return[e[3*a],e[3*a+1]]},index:(r,i)=>t[r*s+i]}}var ds={add:["a","b"],subtract:["a","−b"],multiply:["log a","log b"],divide:["log a","−log b"]},qe=n=>ds[n.operation]??["a","b"];function Ie(n){let{equals:t}=n.shown()[0].run.model,e=q(`Attention of ‘${t?"=":"b"}’`,{note:"by head, for every pair"}),s=U("to",{0:"to a",1:"to b",...t?{2:"to ="}:{}},"0",i=>n.state.set({position:Number(i)}));e.tools.append(s.el);let o=x("div",{class:"multiples"});e.body.append(o);let r=[];return n.state.on(["opened","position","pair","heads"],i=>{let a=n.network();if(!a)return;let{run:c}=n.shown()[0],l=qe(c),f=D(c),u=a.pattern();r.length!==u.length&&(r=u.map((m,g)=>nt({label:`attention of head ${g}`,rowLabel:l[0],columnLabel:l[1],small:!0,bar:!1,pick:(d,p)=>n.state.set({pair:f.pair(d,p),picture:"head",head:g})})),o.replaceChildren(...r.map(m=>m.el))),u.forEach((m,g)=>{let d=Ft(c,m[i.position]),p=d.reduce((h,w)=>h+w,0)/d.length;r[g].draw({values:d,rows:c.m,columns:c.m,limits:[0,1],mark:f.place(i.pair),title:`head ${g}, mean ${E(p,2)}${i.heads.includes(g)?" (off)":""}`,read:(h,w,y)=>`head ${g}, a = ${f.pair(h,w)[0]}, b = ${f.pair(h,w)[1]}: ${E(y)}`})}),e.say(n.weightsNote("by head, dark 0 to bright 1"))}),e.el}function je(n){let t=q("A neuron, head or logit",{wide:!0}),e=n.state.now,s=U("what",{neuron:"neuron",head:"head (a − b)",logit:"logit of c"},e.picture,l=>n.state.set({picture:l})),o=et("number",{value:0,min:0,max:0,change:l=>n.state.set({[Le[n.state.now.picture]]:l})});t.tools.append(s.el,o.el);let{run:r}=n.shown()[0],i=qe(r),a=nt({label:"value for every pair",rowLabel:i[0],columnLabel:i[1],pick:(l,f)=>n.state.set({pair:D(n.shown()[0].run).pair(l,f)})}),c=nt({label:"norm by frequency",rowLabel:`frequency in ${i[0]}`,columnLabel:`frequency in ${i[1]}`});return t.body.append(x("div",{class:"pair-of"},a.el,c.el)),n.state.on(["opened","picture","neuron","head","logit","pair"],l=>{let f=n.network();if(!f)return;let{run:u}=n.shown()[0],m=D(u),g=u.m;s.set(l.picture);let d={neuron:f.width,head:u.model.n_heads,logit:f.classes}[l.picture]-1,p=Math.min(l[Le[l.picture]],d);Object.assign(o.input,{max:d,value:p});let h=ms(f,u,l.picture,p),w=l.picture!=="neuron";a.draw({values:h,rows:g,columns:g,signed:w,mark:m.place(l.pair),read:(M,$,O)=>`a = ${m.pair(M,$)[0]}, b = ${m.pair(M,$)[1]}: ${E(O)}`});let y=h.reduce((M,$)=>M+$,0)/h.length,{norms:b,n:k}=Se(h.map(M=>M-y),g);c.draw({values:b,rows:k,columns:k,read:(M,$,O)=>`k of ${i[0]} ${M}, of ${i[1]} ${$}: ${E(O)}`,mark:hs(b,k)}),t.say(n.weightsNote(`${ps[l.picture]}; right: its waves, constant removed`))}),t.el}var Le={neuron:"neuron",head:"head",logit:"logit"},ps={neuron:"after the nonlinearity",head:"attention to a less attention to b",logit:"less the pair’s mean"};function hs(n,t){let e=0;return n.forEach((s,o)=>s>n[e]&&(e=o)),[Math.floor(e/t),e%t]}function ms(n,t,e,s){if(e==="neuron")return Ft(t,n.neuron(s));if(e==="head"){let[i,a]=n.pattern()[s];return Ft(t,i.map((c,l)=>c-a[l]))}let o=n.logits(),r=n.classes;return Float32Array.from(t.arrays["task/pairs"].data,i=>{let a=0;for(let c=0;c<r;c++)a+=o[i*r+c]/r;return o[i*r+s]-a})}var gs={margin:"right logit less the largest other",loss:"cross-entropy (nats)",right:"right logit less the mean of all"};function Ce(n){let t=n.state.now.result;if(t?.logits)return{logits:t.logits,classes:t.classes,edited:!0};let e=n.network();return e&&{logits:e.logits(),classes:e.classes,edited:!1}}function ze(n){let t=q("Logits by sum and difference",{}),e=U("what",{margin:"margin",loss:"loss",right:"right logit"},"margin",o=>n.state.set({read:o}));t.tools.append(e.el);let s=nt({label:"by sum and difference",rowLabel:"a + b mod p",columnLabel:"a − b mod p",pick:(o,r)=>{let{run:i}=n.shown()[0],a=i.m;for(let c=0;c<a;c++)if(2*c%a===(o+r)%a)return n.state.set({pair:D(i).pair(c,(o-c+a)%a)})}});return t.body.append(s.el),n.state.on(["opened","result","read","pair"],o=>{let r=Ce(n);if(!r)return;let{run:i}=n.shown()[0],a=i.m,[c,l]=[i.arrays["task/pairs"].data,i.arrays["task/labels"].data],[f,u]=[new Float64Array(a*a),new Float64Array(a*a)];for(let d=0;d<a;d++)for(let p=0;p<a;p++){let h=c[d*a+p],w=(d+p)%a*a+(d-p+a)%a;f[w]+=it(r.logits,h,r.classes,l[h])[o.read],u[w]+=1}let m=D(i).place(o.pair),g=f.map((d,p)=>d/u[p]);s.draw({values:g,rows:a,columns:a,signed:g.some(d=>d<0),mark:m&&[(m[0]+m[1])%a,(m[0]-m[1]+a)%a],read:(d,p,h)=>`sum ${d}, difference ${p}: ${E(h)}`}),t.say(n.weightsNote(`${gs[o.read]}${r.edited?", edited":""}`))}),t.el}function Fe(n){let t=q("One pair",{}),{run:e}=n.shown()[0],s=e.arrays["task/inputs"].data,[o,r]=[Math.min(s[0],s[1]),e.p-1],i=["a","b"].map((f,u)=>et(f,{value:n.state.now.pair[u],min:o,max:r,change:m=>n.state.set({pair:n.state.now.pair.map((g,d)=>u===d?m:g)})}));t.tools.append(...i.map(f=>f.el));let a=v("svg",{class:"chart short",role:"img","aria-label":"logits of the pair by class"}),c=x("p",{class:"said"});t.body.append(c,a);let l=f=>{let u=Ce(n);if(!u)return;let{run:m}=n.shown()[0];i.forEach((N,C)=>N.input.value=f.pair[C]);let g=D(m).place(f.pair);if(!g)return;let d=D(m).index(...g),p=m.arrays["task/labels"].data[d],h=u.classes,w=n.network()?.logits(),y=Array.from(u.logits.subarray(d*h,d*h+h)),b=u.edited&&w?Array.from(w.subarray(d*h,d*h+h)):null;ws(a,y,b,p);let{loss:k,probability:M}=it(u.logits,d,h,p),$=y.indexOf(Math.max(...y)),O=m.arrays["task/is_train"].data,_=D(m).place([f.pair[1],f.pair[0]]),A=_&&O[D(m).index(..._)],S=m.split_is_known?O[d]?"trained on":A?"test, its mirror (b, a) trained on":"test, its mirror not trained on":"split not known";c.textContent=`(${f.pair.join(", ")}) → ${p}: ${S}. Answer ${$}, ${$===p?"right":"wrong"}; probability of ${p} ${E(M)}, loss ${E(k)} nats`,t.say(n.weightsNote(u.edited?"edited; outlines: as it was":"logits by class"))};return n.state.on(["opened","result","pair"],l),P(a,()=>l(n.state.now)),t.el}function ws(n,t,e,s){let o=n.getBoundingClientRect(),[r,i,a,c,l]=[o.width||360,o.height||190,46,6,32];n.setAttribute("viewBox",`0 0 ${r} ${i}`);let f=H([t,e??[],[0]],!1),[u,m]=[r-a-6,i-c-l],g=u/t.length,d=w=>c+(1-f.at(w))*m,p=[];for(let w of f.ticks)p.push(v("line",{class:"grid",x1:a,x2:a+u,y1:d(w),y2:d(w)}),v("text",{class:"tick y",x:a-5,y:d(w)+3.5,text:E(w)}));let h=(w,y,b)=>v("rect",{class:b,x:a+y*g+g*.12,width:g*.76,y:Math.min(d(w),d(0)),height:Math.abs(d(w)-d(0))},v("title",{text:`class ${y}: ${E(w)}`}));t.forEach((w,y)=>p.push(h(w,y,y===s?"bar-of key":"bar-of plain"))),e?.forEach((w,y)=>p.push(h(w,y,"outline")));for(let w of[...ct(0,t.length-1,6)].filter(y=>Math.abs(y-s)*g>16))p.push(v("text",{class:"tick x",x:a+(w+.5)*g,y:c+m+13,text:w}));p.push(v("text",{class:"tick x key",x:a+(s+.5)*g,y:c+m+13,text:s})),p.push(v("line",{class:"axis",x1:a,x2:a+u,y1:d(0),y2:d(0)})),p.push(v("text",{class:"label",x:a+u/2,y:i-4,text:"class c (right answer in orange)"})),p.push(v("text",{class:"label",x:0,y:0,transform:`translate(10 ${c+m/2}) rotate(-90)`,text:"logit"})),n.replaceChildren(...p)}var Te=["var(--blue)","var(--red)","var(--green)","var(--purple)","var(--orange)","var(--sky)"],st=.85;function We(n){let t=q("Neurons",{wide:!0}),e=j("circle of k",[],void 0,l=>n.state.set({freq:Number(l)}));t.tools.append(e.el);let s=v("svg",{class:"strip",role:"img","aria-label":"neurons by frequency and purity"}),o=v("svg",{class:"ring",role:"img","aria-label":"numbers on the circle of a frequency"}),r=v("svg",{class:"ring",role:"img","aria-label":"phases of neurons"}),[i,a]=[x("figcaption"),x("figcaption")];t.body.append(x("div",{class:"neurons"},x("figure",{},s,x("figcaption",{text:"each neuron: share of its variance at its own frequency; click: picture, shift-click: switch off"})),x("figure",{},o,i),x("figure",{},r,a)));let c=l=>{let{run:f,at:u}=n.shown()[0],m=f.neurons(u);if(!m)return;let g=bs(m),d=g.has(l.freq)||f.key_freqs.includes(l.freq)?l.freq:f.key_freqs[0]??[...g.keys()][0]??1;e.fill([...new Set([...f.key_freqs,...g.keys()])].sort((w,y)=>w-y).map(w=>[String(w),`${w}${f.key_freqs.includes(w)?" (key)":""}`]),String(d));let p=w=>f.key_freqs.includes(w)?Te[f.key_freqs.indexOf(w)%Te.length]:"var(--dim)";ys(n,s,m,p,l),xs(n,o,i,f,d),$s(n,r,a,m,d,p(d),l);let h=m.purity.reduce((w,y)=>w+(y>=st),0);t.say(`${h} of ${m.purity.length} are pure (≥ ${st}); clusters ${[...g].map(([w,y])=>`${w}: ${y}`).join(", ")||"none"}`)};return n.state.on(["at","a","opened","freq","neuron","neurons"],c),P(t.body,()=>c(n.state.now)),t.el}function bs({freq:n,purity:t}){let e=new Map;return n.forEach((s,o)=>s&&t[o]>=st&&e.set(s,(e.get(s)??0)+1)),new Map([...e].sort((s,o)=>s[0]-o[0]))}function ys(n,t,{freq:e,purity:s},o,r){let i=t.getBoundingClientRect().width||360,a=320,c=38,l=6,f=30;t.setAttribute("viewBox",`0 0 ${i} ${a}`);let u=Array.from(e.keys()).sort((k,M)=>e[k]-e[M]||s[M]-s[k]),[m,g]=[i-c-6,a-l-f],d=k=>c+(k+.5)/u.length*m,p=k=>l+(1-k)*g,h=[];for(let k of[0,.5,st,1])h.push(v("line",{class:"grid",x1:c,x2:c+m,y1:p(k),y2:p(k)}),v("text",{class:"tick y",x:c-5,y:p(k)+3.5,text:k}));let w=0,y=-1/0;for(let k=1;k<=u.length;k++){if(k<u.length&&e[u[k]]===e[u[w]])continue;let M=e[u[w]],$=(d(w)+d(k-1))/2;w&&h.push(v("line",{class:"grid",x1:(d(w-1)+d(w))/2,x2:(d(w-1)+d(w))/2,y1:l,y2:l+g})),$-y>16&&(h.push(v("text",{class:"tick x",x:$,y:l+g+13,fill:o(M),text:M||"–"})),y=$),w=k}let b=new Set(r.neurons);u.forEach((k,M)=>{h.push(v("circle",{class:b.has(k)?"dot off":"dot",cx:d(M),cy:p(s[k]),r:k===r.neuron?5:2.4,fill:o(e[k]),stroke:k===r.neuron?"var(--ink)":void 0,onclick:$=>$.shiftKey?n.toggle("neurons",k):n.state.set({neuron:k,picture:"neuron",freq:e[k]||n.state.now.freq})},v("title",{text:`neuron ${k}: k = ${e[k]}, purity ${E(s[k])}${b.has(k)?", switched off":""}`})))}),h.push(v("text",{class:"label",x:c+m/2,y:a-4,text:"neurons, by their frequency k"})),h.push(v("text",{class:"label",x:0,y:0,transform:`translate(10 ${l+g/2}) rotate(-90)`,text:"purity"})),t.replaceChildren(...h)}function xs(n,t,e,s,o){t.setAttribute("viewBox","-100 -100 200 200");let r=n.weights();if(!r)return;let i=r["embed.W_E"]??r["blocks.0.mlp.W_in"],a=i.shape[1],c=s.arrays["task/tokens"].data,l=Float64Array.from({length:s.m*a},(p,h)=>i.data[c[Math.floor(h/a)]*a+h%a]),f=Ne(l,s.m,a,o),u=Math.max(...f.map(([p,h])=>Math.hypot(p,h)))||1,m=f.map(([p,h])=>[p/u*84,-h/u*84]),g=ks(o,s.m),d=Array.from({length:s.m},(p,h)=>m[h*g%s.m]);t.replaceChildren(v("circle",{class:"grid",r:84,fill:"none"}),v("polygon",{class:"around",points:d.map(p=>p.map(h=>h.toFixed(1)).join(" ")).join(" ")}),...m.map(([p,h],w)=>v("circle",{class:"dot",cx:p,cy:h,r:s.m>60?1.8:2.6,fill:"var(--blue)"},v("title",{text:`number ${c[w]}`}))),...m.map(([p,h],w)=>(s.m<=40||w%8===0)&&v("text",{class:"tick ring-label",x:p*1.13,y:h*1.13+3,text:c[w]})).filter(Boolean)),e.textContent=`numbers in the plane of cos, sin ${o} of the embedding, joined in the order of ${o}·x`}function ks(n,t){for(let e=1;e<t;e++)if(n*e%t===1)return e;return 1}function $s(n,t,e,s,o,r,i){t.setAttribute("viewBox","-100 -100 200 200");let a=d=>d-2*Math.PI*Math.round(d/(2*Math.PI)),c=d=>d/Math.PI*80,l=Array.from(s.freq.keys()).filter(d=>s.freq[d]===o),f=l.filter(d=>s.purity[d]>=st),u=[[-1,"−π"],[0,"0"],[1,"π"]];t.replaceChildren(v("rect",{class:"grid",x:-80,y:-80,width:160,height:160,fill:"none"}),v("line",{class:"grid diagonal",x1:-80,y1:80,x2:80,y2:-80}),...u.flatMap(([d,p])=>[v("text",{class:"tick ring-label",x:d*80,y:91,text:p}),v("text",{class:"tick y",x:-83,y:-d*80+3,text:p})]),v("text",{class:"label",x:0,y:99,text:"u + v (read)"}),v("text",{class:"label",x:0,y:0,transform:"translate(-92 0) rotate(-90)",text:"out (written)"}),...l.map(d=>v("circle",{class:s.purity[d]<st?"dot pale":"dot",cx:c(a(s.u[d]+s.v[d])),cy:-c(s.out[d]),r:d===i.neuron?4.5:2,fill:r,stroke:d===i.neuron?"var(--ink)":void 0,onclick:()=>n.state.set({neuron:d,picture:"neuron"})},v("title",{text:`neuron ${d}: u ${E(s.u[d])}, v ${E(s.v[d])}, out ${E(s.out[d])}`}))));let[m,g]=[0,0];for(let d of f){let p=s.out[d]-s.u[d]-s.v[d];m+=Math.cos(p)/f.length,g+=Math.sin(p)/f.length}e.textContent=`phases of the ${l.length} neurons of k = ${o}, ${f.length} of them pure: alignment ${f.length?E(Math.hypot(m,g)):"–"}`}var vs=[{name:"W_E",label:"embedding"},{name:"neurons",label:"neurons"},{name:"logits",label:"logits"}];function Be(n){let t=q("Spectrum",{note:"energy by frequency, as a share of all; click: switch off"}),e=vs.map(o=>{let r=v("svg",{class:"bars",role:"img","aria-label":`spectrum of the ${o.label}`}),i=x("b");return t.body.append(x("div",{class:"legend"},x("span",{class:"entry"},x("span",{text:o.label}),i)),r),{...o,svg:r,value:i}}),s=o=>{let{run:r,at:i}=n.shown()[0];e.forEach((a,c)=>_s(n,a,r,i,o,c===e.length-1))};return n.state.on(["at","a","off","freq"],s),P(t.body,()=>s(n.state.now)),t.el}function _s(n,{name:t,label:e,svg:s,value:o},r,i,a,c){let l=Array.from(r.spectrum(t,i)),f=l.reduce((_,A)=>_+A,0)||1,u=l.map(_=>t==="neurons"?_:_/f),m=s.getBoundingClientRect().width||360,g=c?128:108,d=40,p=c?30:12;s.setAttribute("viewBox",`0 0 ${m} ${g}`),s.style.height=`${g}px`;let h=Math.max(...u,1e-9),w=(m-d-4)/u.length,y=g-p-4,b=new Set(r.key_freqs),k=new Set(a.off),M=[v("text",{class:"tick y",x:d-5,y:11,text:E(h,2)}),v("text",{class:"tick y",x:d-5,y:4+y,text:"0"}),v("line",{class:"axis",x1:d,x2:m-4,y1:4+y,y2:4+y})],$=Math.ceil(u.length/Math.floor((m-d)/26));u.forEach((_,A)=>{let S=A+1,N=Math.max(0,_/h*y),C=d+A*w,W=k.has(S)?"off":b.has(S)?"key":"plain",L=v("rect",{class:"hit",x:C,y:0,width:w,height:g-p,onclick:()=>n.toggle("off",S)},v("title",{text:`k = ${S}: ${E(_)} of the ${e}${b.has(S)?", key":""}${k.has(S)?", switched off":""}`}));M.push(v("rect",{class:`bar-of ${W}`,x:C+w*.12,y:4+y-N,width:w*.76,height:N}),L),c&&Ms(S,b,w,$)&&M.push(v("text",{class:b.has(S)?"tick x key":"tick x",x:C+w/2,y:g-p+12,text:S}))}),c&&M.push(v("text",{class:"label",x:d+(m-d)/2,y:g-3,text:"frequency k (key frequencies in orange)"}));let O=u.map((_,A)=>[_,A+1]).sort((_,A)=>A[0]-_[0]).slice(0,3);o.textContent=O.map(([_,A])=>`k ${A}: ${E(_,2)}`).join(", "),s.replaceChildren(...M)}function Ms(n,t,e,s){let o=Math.ceil(18/e);return t.size>8||!t.size?n===1||n%s===0:t.has(n)?![...t].some(r=>r<n&&n-r<o):(n===1||n%s===0)&&![...t].some(r=>Math.abs(r-n)<o)}var As=[[me],[ge],[we],[be],[ve,"hands"],[fe],[Be,"spectrum"],[Ie,"attention"],[je,"pictures"],[We,"neurons"],[ze,"pictures"],[Fe,"pictures"]],Re={spectrum:"spectrum",neurons:"neurons",attention:"attention",pictures:"pictures, logits and pairs",hands:"hands on the model"};function Tt(n,{content:t,arrays:e},{kernel:s,host:o,page:r}){let i=t.runs.map((h,w)=>new yt(h,e,w));for(let h of i)h.everyStep=!!o?.weights;for(let h of i)!h.weights.size&&!o&&Os(h);let a=xt({at:i[0].steps.length-1,axis:"log",a:0,b:i.length>1?1:-1,playing:!1,position:0,read:"margin",result:void 0,arrived:"",opened:"",column:void 0,...qt,...Ue(i[0])}),c=se({runs:i,state:a,kernel:s,host:o});a.on(["at","a","arrived"],()=>{let{run:h,step:w}=c.shown()[0];c.request(h,w),a.set({opened:`${h.index}@${w} by ${c.weightsStep()}`})}),a.on(["from","wayTo","taken","way"],h=>{for(let w of[h.taken&&h.from,h.way&&h.wayTo])w&&c.request(i[w[0]],w[1])});let l=x("header",{class:"about"});a.on(["a","b"],()=>l.replaceChildren(...Es(c.shown())));let f=x("main",{class:"grid-of-panels"}),u=x("p",{class:"not-shown"}),m=`circuitgrok ${t.version}; arrows, home, end move along the run, space plays`;n.classList.add("cg"),n.replaceChildren(l,ie(c).el,f,u,x("footer",{class:"said",text:m}));let g,d;a.on(["a"],()=>{let{run:h}=c.shown()[0],w=JSON.stringify([h.model,h.m,h.missing]);d!==void 0&&d!==w&&a.set(Ue(h)),d=w,g?.close(),g=a.scope();let y=As.filter(([,b])=>!(b&&h.missing[b]));f.replaceChildren(...y.map(([b])=>b({...c,state:g}))),u.replaceChildren(...Ss(h)),u.hidden=!u.childNodes.length});let p=ce(c,r?document:n);return{state:a,context:c,stop:p}}function Ue(n){return{freq:n.key_freqs[0]??1,picture:n.missing.neurons?"logit":"neuron",neuron:qs(n),head:0,logit:0,pair:Ns(n),...at}}function Os(n){for(let t of["hands","pictures","attention"])n.missing[t]??="no weights are on this page"}function Es(n){let[{run:t},e]=n,s=([o,r])=>x("div",{},x("dt",{text:o}),x("dd",{text:r}));return[x("h1",{text:t.name}),e?x("span",{class:"beside",text:`beside ${e.run.name} (pale lines)`}):"",x("dl",{},Object.entries(t.facts).map(s)),x("p",{class:"said",text:Ls(t)})]}function Ss({missing:n}){let t=Object.keys(n).filter(o=>o in Re);if(!t.length)return[];let e=[...new Set(t.map(o=>n[o]))],s=o=>t.filter(r=>n[r]===o).map(r=>Re[r]);return[x("b",{text:"Not shown: "}),e.map(o=>`${s(o).join(", ")} (${o})`).join("; ")]}function Ns(n){let t=n.arrays["task/inputs"]?.data,e=n.arrays["task/is_train"]?.data;if(!t)return[0,0];let s=e.findIndex((o,r)=>!o&&t[3*r]<t[3*r+1]);return[t[3*Math.max(0,s)],t[3*Math.max(0,s)+1]]}function Ls({key_freqs:n,key_freqs_rule:t,sparsity:e}){return n.length?`key frequencies ${n.length>12?`${n.slice(0,5).join(", ")}, … (${n.length})`:n.join(", ")} (rule ${t}), ${e==="sparse"?"a sparse spectrum":e}`:""}function qs(n){let t=n.neurons(n.steps.length-1)?.purity??[0];return t.indexOf(Math.max(...t))}var Is={f8:Float64Array,f4:Float32Array,i4:Int32Array,u2:Uint16Array,i2:Int16Array,u1:Uint8Array};function Wt(n){let t=new DataView(n).getUint32(0,!0),{content:e,arrays:s}=JSON.parse(new TextDecoder().decode(new Uint8Array(n,4,t))),o={};for(let[r,[i,a,c]]of Object.entries(s)){let l=a.reduce((f,u)=>f*u,1);o[r]={data:new Is[i](n,4+t+c,l),shape:a}}return{content:e,arrays:o}}async function Bt(n){let t=atob(n.trim()),e=new Uint8Array(t.length);for(let o=0;o<t.length;o++)e[o]=t.charCodeAt(o);let s=new Blob([e]).stream().pipeThrough(new DecompressionStream("gzip"));return new Response(s).arrayBuffer()}function Pe(n){return n.buffer.slice(n.byteOffset,n.byteOffset+n.byteLength)}var De=`.cg {
  color-scheme: light dark;
  --paper: light-dark(#f5f6f7, #14171a);
  --panel: light-dark(#ffffff, #1c2024);
  --ink: light-dark(#1b1f23, #e4e7ea);
  --dim: light-dark(#59626b, #a0a9b2);
  --faint: light-dark(#e3e6e9, #30363c);
  --edge: light-dark(#cfd4d9, #3a4148);
  --now: light-dark(#1b1f23, #f2f4f5);
  --blue: light-dark(#0072b2, #56b4e9);
  --sky: light-dark(#3a9ad0, #8fd0f5);
  --red: light-dark(#d55e00, #f0823a);
  --green: light-dark(#00805d, #2fc49a);
  --purple: light-dark(#b0558a, #dd94be);
  --orange: light-dark(#b87f00, #e69f00);
  --focus: light-dark(#0a58ca, #7ab8ff);
  --band0: light-dark(#0072b214, #56b4e91c);
  --band1: light-dark(#009e7318, #2fc49a1c);
  --band2: light-dark(#e69f001c, #e69f001c);
  color: var(--ink);
  background: var(--paper);
  font:
    13px/1.4 system-ui,
    "Segoe UI",
    "Helvetica Neue",
    Arial,
    sans-serif;
  font-variant-numeric: tabular-nums;
  padding: 12px 16px 24px;
  box-sizing: border-box;
  min-width: 720px;
}
.cg[data-theme="light"] {
  color-scheme: light;
}
.cg[data-theme="dark"] {
  color-scheme: dark;
}
.cg *,
.cg *::before {
  box-sizing: border-box;
}
.cg h1 {
  font-size: 19px;
  font-weight: 600;
  margin: 0;
  overflow-wrap: anywhere;
}
.cg h2 {
  font-size: 13px;
  font-weight: 600;
  margin: 0;
  white-space: nowrap;
}
.cg p {
  margin: 0;
}
.cg .about {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 2px 18px;
  margin-bottom: 8px;
}
.cg .about dl {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 18px;
  margin: 0;
}
.cg .about dl div {
  display: flex;
  gap: 5px;
}
.cg dt,
.cg .said,
.cg .note,
.cg .beside,
.cg figcaption,
.cg .not-shown,
.cg .reading {
  color: var(--dim);
}
.cg .about dt,
.cg .about dd {
  display: inline;
  float: none;
  width: auto;
  margin: 0;
  padding: 0;
  font-weight: inherit;
}
.cg .beside {
  font-style: italic;
}
.cg .not-shown {
  margin-top: 12px;
}
.cg footer {
  margin-top: 12px;
}

.cg .time {
  position: sticky;
  top: 0;
  z-index: 3;
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 4px;
  padding: 6px 10px 4px;
  margin-bottom: 12px;
}
.cg .time-row {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px 16px;
}
.cg .where {
  min-width: 270px;
}
.cg .where b {
  font-size: 15px;
}
.cg .play {
  min-width: 76px;
}
.cg .slider {
  cursor: ew-resize;
  touch-action: none;
  border-radius: 3px;
}
.cg .strip-line {
  display: block;
  width: 100%;
  height: 70px;
}
.cg .checkpoint {
  stroke: var(--dim);
  stroke-width: 1;
  opacity: 0.7;
}
.cg .kept {
  fill: var(--panel);
  stroke: var(--ink);
  stroke-width: 1.3;
}
.cg .event {
  fill: var(--dim);
}
.cg .event-label {
  font-size: 10px;
}
.cg line.thumb {
  stroke: var(--now);
  stroke-width: 1.5;
}
.cg circle.thumb {
  fill: var(--now);
  stroke: var(--panel);
  stroke-width: 2;
}

.cg .grid-of-panels {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(360px, 1fr));
  gap: 12px;
}
.cg .panel {
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 4px;
  padding: 8px 10px 10px;
  min-width: 0;
  display: flex;
  flex-direction: column;
}
.cg .panel.wide {
  grid-column: span 2;
}
.cg .panel > header {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 2px 10px;
  margin-bottom: 4px;
  min-height: 24px;
}
.cg .panel .note {
  flex: 1 1 120px;
  font-size: 11.5px;
}
.cg .tools {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px;
}
.cg .body {
  flex: 1;
  display: flex;
  flex-direction: column;
  justify-content: flex-start;
  min-width: 0;
}

.cg .plot {
  display: flex;
  flex-direction: column;
  flex: 1;
}
.cg .chart {
  width: 100%;
  height: 226px;
  flex: 1 0 226px;
  display: block;
  touch-action: none;
}
.cg .chart.short {
  height: 280px;
  flex-basis: 280px;
}
.cg .picked {
  cursor: crosshair;
}
.cg .legend {
  display: flex;
  flex-wrap: wrap;
  gap: 1px 14px;
  min-height: 18px;
  font-size: 11.5px;
}
.cg .entry {
  display: inline-flex;
  align-items: center;
  gap: 5px;
}
.cg .entry b {
  font-weight: 600;
}
.cg .swatch {
  width: 22px;
  height: 8px;
}
.cg svg text {
  font-family: inherit;
}
.cg svg text:not([fill]) {
  fill: var(--ink);
}
.cg .tick {
  font-size: 10.5px;
}
.cg svg .tick:not([fill]),
.cg svg .label,
.cg svg .band-label,
.cg svg .event-label {
  fill: var(--dim);
}
.cg .tick.x {
  text-anchor: middle;
}
.cg .tick.y {
  text-anchor: end;
}
.cg svg .tick.key {
  fill: var(--red);
  font-weight: 700;
}
.cg .label {
  font-size: 11px;
  text-anchor: middle;
}
.cg .grid {
  stroke: var(--faint);
  stroke-width: 1;
}
.cg .axis {
  stroke: var(--dim);
  stroke-width: 1;
}
.cg .line {
  fill: none;
  stroke-width: 1.7;
  stroke-linejoin: round;
}
.cg .line.pale {
  stroke-width: 1.2;
  opacity: 0.5;
}
.cg line.now {
  stroke-width: 1;
  opacity: 0.75;
}
.cg circle.now {
  stroke: var(--panel);
  stroke-width: 1.5;
}
.cg .band.tone0 {
  fill: var(--band0);
}
.cg .band.tone1 {
  fill: var(--band1);
}
.cg .band.tone2 {
  fill: var(--band2);
}
.cg .band-label {
  font-size: 10px;
  text-anchor: middle;
}

.cg .bars {
  width: 100%;
  display: block;
  margin-bottom: 2px;
}
.cg .bar-of {
  fill: var(--dim);
}
.cg .bar-of.key {
  fill: var(--red);
}
.cg .bar-of.off {
  fill: var(--panel);
  stroke: var(--red);
  stroke-dasharray: 2 2;
}
.cg .outline {
  fill: none;
  stroke: var(--ink);
  stroke-width: 0.8;
}
.cg .hit {
  fill: transparent;
  cursor: pointer;
}
.cg .hit:hover {
  fill: var(--faint);
  opacity: 0.6;
}

.cg .heat {
  margin: 0;
  display: grid;
  grid-template-columns: 16px minmax(0, 1fr);
  gap: 2px 3px;
  align-content: start;
}
.cg .heat .small-title {
  grid-column: 2;
  font-size: 11.5px;
}
.cg .row-label {
  writing-mode: vertical-rl;
  transform: rotate(180deg);
  text-align: center;
  font-size: 11px;
  color: var(--dim);
}
.cg .column-label {
  grid-column: 2;
  text-align: center;
  font-size: 11px;
  color: var(--dim);
}
.cg .frame {
  position: relative;
  width: 100%;
}
.cg .heat canvas {
  width: 100%;
  height: 100%;
  display: block;
  image-rendering: pixelated;
}
.cg .mark {
  position: absolute;
  width: 9px;
  height: 9px;
  margin: -4.5px 0 0 -4.5px;
  border: 1.5px solid #fff;
  outline: 1.5px solid #000;
  border-radius: 50%;
  pointer-events: none;
}
.cg .bar {
  grid-column: 2;
  display: flex;
  align-items: center;
  gap: 6px;
  font-size: 11px;
  min-height: 17px;
}
.cg .scale {
  display: inline-block;
  width: 84px;
  height: 8px;
  border: 1px solid var(--edge);
  flex: none;
}
.cg .reading {
  margin-left: auto;
  text-align: right;
}
.cg .multiples {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 6px 10px;
}
.cg .pair-of {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 16px;
}
.cg .neurons {
  display: grid;
  grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr) minmax(0, 1fr);
  gap: 12px;
}
.cg figure {
  margin: 0;
  min-width: 0;
}
.cg figcaption {
  font-size: 11.5px;
}
.cg .strip {
  width: 100%;
  height: 320px;
  display: block;
}
.cg .ring {
  width: 100%;
  display: block;
}
.cg .ring .tick,
.cg .ring .label {
  font-size: 7px;
}
.cg .ring-label {
  text-anchor: middle;
}
.cg .around {
  fill: none;
  stroke: var(--edge);
  stroke-width: 0.8;
}
.cg .diagonal {
  stroke: var(--dim);
  stroke-dasharray: 3 3;
}
.cg .dot {
  cursor: pointer;
}
.cg .dot.off {
  fill: var(--panel);
  stroke: var(--red);
  stroke-width: 1;
}
.cg .dot.pale {
  opacity: 0.35;
}

.cg .hands-grid {
  display: grid;
  grid-template-columns: minmax(0, 1fr) 296px;
  gap: 16px;
}
.cg .hand {
  display: grid;
  grid-template-columns: 112px minmax(0, 1fr);
  align-items: center;
  padding: 4px 0;
  border-top: 1px solid var(--faint);
}
.cg .hand:first-child {
  border-top: 0;
}
.cg .hand-label {
  color: var(--dim);
}
.cg .hand-body,
.cg .chips {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px;
}
.cg .hand-body {
  gap: 5px 12px;
}
.cg button,
.cg select,
.cg input[type="number"] {
  font: inherit;
  color: inherit;
  background: var(--paper);
  border: 1px solid var(--edge);
  border-radius: 3px;
  padding: 1px 7px;
  min-height: 23px;
}
.cg button {
  cursor: pointer;
}
.cg button:hover {
  border-color: var(--dim);
}
.cg button[aria-pressed="true"] {
  background: var(--ink);
  color: var(--panel);
  border-color: var(--ink);
}
.cg .choice {
  display: inline-flex;
}
.cg .choice button {
  border-radius: 0;
  margin-left: -1px;
}
.cg .choice button:first-child {
  border-radius: 3px 0 0 3px;
  margin-left: 0;
}
.cg .choice button:last-child {
  border-radius: 0 3px 3px 0;
}
.cg .chip {
  min-width: 26px;
  padding: 0 5px;
}
.cg .chip.key {
  border-color: var(--red);
  font-weight: 700;
}
.cg .chip[aria-pressed="true"] {
  background: var(--red);
  border-color: var(--red);
  color: light-dark(#fff, #14171a);
  text-decoration: line-through;
}
.cg input[type="number"] {
  width: 62px;
}
.cg input[type="range"] {
  accent-color: var(--blue);
  width: 180px;
}
.cg select {
  max-width: 230px;
}
.cg .field {
  display: inline-flex;
  align-items: center;
  gap: 5px;
}
.cg .field > span {
  color: var(--dim);
}
.cg output {
  min-width: 44px;
  display: inline-block;
}
.cg :focus-visible {
  outline: 2px solid var(--focus);
  outline-offset: 1px;
}
.cg .scores {
  border-collapse: collapse;
  width: 100%;
}
.cg .scores th {
  text-align: left;
  font-weight: 400;
  color: var(--dim);
  white-space: nowrap;
}
.cg .scores th,
.cg .scores td {
  padding: 3px 6px;
  border-bottom: 1px solid var(--faint);
}
.cg .scores td,
.cg .scores thead th {
  text-align: right;
}
.cg .scores td:last-child {
  font-weight: 600;
}
.cg pre {
  margin: 0;
  padding: 8px 10px;
  background: var(--paper);
  border: 1px solid var(--faint);
  border-radius: 3px;
  overflow: auto;
  font:
    12px/1.5 ui-monospace,
    "DejaVu Sans Mono",
    Menlo,
    Consolas,
    monospace;
  flex: 1;
}

.cg .box {
  display: inline-block;
  width: 11px;
  height: 11px;
  border-radius: 2px;
}
.cg .diagrams {
  display: flex;
  flex-wrap: wrap;
  gap: 10px 24px;
}
.cg .diagram {
  max-width: 100%;
  height: auto;
}
.cg .cell {
  cursor: pointer;
}
.cg .cell.chosen .cell-box {
  stroke: var(--ink);
  stroke-width: 3;
}
.cg .cell-text {
  text-anchor: middle;
  font-size: 12px;
}
.cg .cell-text.boxed {
  paint-order: stroke;
  stroke: var(--panel);
  stroke-width: 3px;
}
.cg .scroll {
  overflow-x: auto;
}
.cg .scores.runs {
  margin-top: 8px;
  white-space: nowrap;
}
.cg .scores.runs td:last-child {
  font-weight: 400;
}

@media print {
  .cg {
    color-scheme: light;
    padding: 0;
    min-width: 0;
    background: #fff;
    font-size: 10px;
  }
  .cg .controls,
  .cg .tools,
  .cg footer {
    display: none;
  }
  .cg .time {
    position: static;
    border: 0;
  }
  .cg .grid-of-panels {
    grid-template-columns: 1fr 1fr;
    gap: 8px;
  }
  .cg .panel {
    break-inside: avoid;
    border-color: #bbb;
  }
  .cg .hands-grid {
    grid-template-columns: 1fr;
  }
  .cg .chart,
  .cg .strip,
  .cg .bars,
  .cg .strip-line {
    height: auto !important;
    flex: none;
  }
  .cg canvas,
  .cg .band,
  .cg .bar-of,
  .cg .scale {
    print-color-adjust: exact;
  }
}
`;var He=["var(--blue)","var(--red)","var(--green)","var(--purple)","var(--orange)","var(--sky)"],Cs={at:n=>(n+.02)/1.04,ticks:[0,.25,.5,.75,1],format:String},Ve={run:n=>n.name,state:n=>n.state,class:n=>n.class??"–","memorised by":n=>Ke(n,"memorised"),"grokked by":n=>Ke(n,"grokked"),"train loss":n=>E(n.train_loss,4),"test loss":n=>E(n.test_loss,4),"train acc":n=>E(n.train_acc,4),"test acc":n=>E(n.test_acc,4),"norm at the end":n=>E(n.final_norm,4)};function Ge({cells:n,runs:t,arrays:e},s){let o=q("Runs of the cell",{wide:!0}),r="optimizer step",i=Q({xLabel:r,yLabel:"accuracy (dotted: train)",label:"accuracies of the cell's runs"}),a=Q({xLabel:r,yLabel:"loss (dotted: train)",label:"losses of the cell's runs"}),c=x("table",{class:"scores runs"});return o.body.append(x("div",{class:"pair-of"},i.el,a.el),x("div",{class:"scroll"},c)),s.on(["cell"],l=>{let f=n[l.cell],u=Object.entries(f.setting).map(([h,w])=>`${h} = ${w}`);o.say(u.join(", ")||"all runs");let m=f.runs.filter(h=>e[`${h}/step`]);if(m.length){let h=m.map($=>({last:e[`${$}/step`].data.at(-1),events:[]})),w=bt("log",h[0],h),y={at:$=>$,ticks:w.ticks.map(w.at),format:$=>I(w.step($))},b=$=>m.flatMap((O,_)=>k(t[O],O,He[_%He.length],$)),k=($,O,_,A)=>["train","test"].filter(S=>e[`${O}/${S}_${A}`]).map(S=>({label:S==="test"?zs($):void 0,colour:_,dash:S==="train"?"2 3":void 0,x:Array.from(e[`${O}/step`].data,w.at),y:e[`${O}/${S}_${A}`].data})),M=b("loss");i.draw({x:y,y:Cs,series:b("acc")}),a.draw({x:y,y:H(M.map($=>$.y),!0),series:M})}let g=Object.keys(Ve).map(h=>x("th",{scope:"col",text:h})),d=([h,...w])=>x("tr",{},x("th",{scope:"row",text:h}),w.map(y=>x("td",{text:y}))),p=f.runs.map(h=>d(Object.values(Ve).map(w=>w(t[h]))));c.replaceChildren(x("thead",{},x("tr",{},g)),x("tbody",{},p))}),o.el}function Ke(n,t){return n[`${t}_by`]!==null?I(n[`${t}_by`]):n.steps===null?"–":`> ${I(n.steps)}`}var zs=n=>n.seed===void 0||n.seed===null?n.name:`seed ${n.seed}`;var Ye={comprehension:"var(--blue)",grokking:"var(--orange)",memorisation:"var(--purple)",confusion:"var(--dim)"},Fs="a cell: median over its runs, runs that grokked / runs; hatched: censored; strip: shares of the classes",Y=58;function Je({fields:n,columns:t,classes:e,cells:s},o){let r=n.map(h=>h.name),i=q("Phase diagram",{note:Fs,wide:!0}),a=h=>h.map(w=>[w,w]),c=j("across",a(r),o.now.x,h=>o.set({y:f("y",h),x:h})),l=j("up",a(r),o.now.y,h=>o.set({x:f("x",h),y:h})),f=(h,w)=>o.now[h]===w?o.now[h==="x"?"y":"x"]:o.now[h],u=a(t.map(h=>h.name)),m=j("colour",u,o.now.colour,h=>o.set({colour:h}));i.tools.append(...r.length?[c.el]:[],...r.length>1?[l.el]:[],m.el);let g=x("div",{class:"diagrams"}),d=x("p",{class:"said"}),p=h=>x("span",{class:"entry"},x("i",{class:"box",style:`background:${Ye[h]}`}),x("span",{text:h}));return i.body.append(g,d,x("div",{class:"legend"},e.map(p))),o.on(["x","y","colour"],h=>{c.input.value=h.x,l.input.value=h.y;let w=Ws(s,t.find($=>$.name===h.colour));d.textContent=w.said;let y=r.filter($=>$!==h.x&&$!==h.y),b=Map.groupBy(s.keys(),$=>y.map(O=>`${O} = ${s[$].setting[O]}`).join(", ")),k=Ts(s,n,h),M=([$,O])=>Bs($,O,{cells:s,classes:e,grid:k,scale:w,state:o});g.replaceChildren(...[...b].map(M))}),o.on(["cell"],h=>{for(let w of g.querySelectorAll("[data-cell]")){let y=Number(w.dataset.cell)===h.cell;w.classList.toggle("chosen",y),w.setAttribute("aria-pressed",String(y))}}),i.el}var Qe=n=>[...new Set(n)].sort((t,e)=>typeof t=="number"&&typeof e=="number"?t-e:String(t).localeCompare(String(e)));function Ts(n,t,{x:e,y:s}){let o=f=>t.find(u=>u.name===f)?.label??"",r=e?Qe(n.map(f=>f.setting[e])):["all runs"],i=s?Qe(n.map(f=>f.setting[s])).reverse():[""],a=Math.max(64,Math.min(150,620/r.length)),c=o(s).length*6<i.length*Y+30?o(s):s;return{across:r,up:i,width:a,place:({setting:f})=>[e?r.indexOf(f[e]):0,s?i.indexOf(f[s]):0],acrossLabel:o(e),upLabel:c,hasUp:!!s}}function Ws(n,{name:t,label:e}){let o=n.map(p=>p.values[t]).filter(([p,h])=>p!==null&&!h).map(([p])=>p),r=o.filter(p=>p>0),i=/_by$|_loss$|norm$|^r0$/.test(t)&&r.length>0,a=/acc|gap/.test(t),c=i?r:o,[l,f]=a?[0,1]:[Math.min(...c),Math.max(...c)],u=p=>(p-l)/(f-l),m=p=>Math.log(Math.max(p,l)/l)/Math.log(f/l),g=f>l?i?m:u:()=>.5,d=`from ${E(l)} (dark) to ${E(f)} (bright)${i?", logarithmic":""}`;return{name:t,share:g,said:`colour: ${e}, ${o.length?d:"not known of any cell"}`}}function Bs(n,t,{cells:e,classes:s,grid:o,scale:r,state:i}){let{across:a,up:c,width:l}=o,[f,u,m]=[o.hasUp?74:12,n?22:6,40],[g,d]=[f+a.length*l+8,u+c.length*Y+m],p={class:"diagram",viewBox:`0 0 ${g} ${d}`,style:`width:${g}px`},h=v("svg",{...p,role:"group","aria-label":`phase diagram ${n}`},Rs());n&&h.append(v("text",{x:f,y:14,text:n}));for(let M of t){let[$,O]=o.place(e[M]),_={x:f+$*l,y:u+O*Y,w:l};h.append(Us(e[M],M,_,{classes:s,scale:r,state:i}))}let w=u+c.length*Y,y=(M,$)=>v("text",{class:"tick x",x:f+($+.5)*l,y:w+14,text:String(M)});if(h.append(...a.map(y)),h.append(v("text",{class:"label",x:f+a.length*l/2,y:d-8,text:o.acrossLabel})),!o.hasUp)return h;let b=(M,$)=>v("text",{class:"tick y",x:f-6,y:u+($+.5)*Y+4,text:String(M)}),k=`translate(12 ${(u+w)/2}) rotate(-90)`;return h.append(...c.map(b),v("text",{class:"label",x:0,y:0,transform:k,text:o.upLabel})),h}function Rs(){let n=v("line",{x1:0,y1:0,x2:0,y2:7,stroke:"var(--dim)","stroke-width":1.2});return v("defs",{},v("pattern",{id:"hatch",width:7,height:7,patternUnits:"userSpaceOnUse",patternTransform:"rotate(45)"},v("rect",{width:7,height:7,fill:"var(--faint)"}),n))}function Us(n,t,{x:e,y:s,w:o},{classes:r,scale:i,state:a}){let[c,l]=n.values[i.name],f=c!==null&&!l,u=f?Ee(i.share(c)):{css:"url(#hatch)",ink:"var(--ink)"},g=[c===null?"no record":`${l?"> ":""}${E(c)}`,`${n.n_grokked}/${n.n}${n.n_missing?`, ${n.n_missing} not done`:""}`],d=Object.entries(n.setting).map(([b,k])=>`${b} ${k}`),p=t===a.now.cell,h=(b,k)=>v("text",{class:f?"cell-text":"cell-text boxed",x:e+o/2,y:s+21+14*k,fill:u.ink,text:b}),w={class:"cell-box",x:e+1.5,y:s+1.5,width:o-3,height:Y-3,fill:u.css},y=b=>{b.key&&b.key!=="Enter"&&b.key!==" "||(b.preventDefault(),a.set({cell:t}))};return v("g",{class:p?"cell chosen":"cell",tabindex:0,role:"button","aria-label":`${d.join(", ")}: ${g.join("; ")}`,"aria-pressed":String(p),"data-cell":t,onclick:y,onkeydown:y},v("rect",w),g.map(h),Ps(n,r,{x:e+1.5,y:s+Y-9,w:o-3}))}function Ps(n,t,{x:e,y:s,w:o}){let r=t.reduce((a,c)=>a+n[c],0),i=e;return t.filter(a=>n[a]).map(a=>{let c=o*n[a]/r,l=v("title",{text:`${a}: ${n[a]} of ${r}`});return i+=c,v("rect",{x:i-c,y:s,width:c,height:7.5,style:`fill:${Ye[a]}`},l)})}function Xe(n,{content:t,arrays:e}){let s={...t.sweep,arrays:e},o=s.fields.map(u=>u.name),r=s.columns.map(u=>u.name),i=r.includes("grokked_by")?"grokked_by":r[0],a=xt({x:o[0],y:o[1],colour:i,cell:0}),c=x("header",{class:"about"},x("h1",{text:s.name}),x("p",{class:"said",text:s.said})),l=`circuitgrok ${t.version}; a cell opens by click or enter`,f=x("main",{class:"grid-of-panels"});n.classList.add("cg"),n.replaceChildren(c,f,x("footer",{class:"said",text:l})),f.append(Je(s,a),Ge(s,a))}var Rt=n=>n instanceof ArrayBuffer?new DataView(n):n;function Ze(n){let t=document.body.dataset.jpThemeLight;t!==void 0?n.dataset.theme=t==="true"?"light":"dark":document.body.classList.contains("vscode-dark")?n.dataset.theme="dark":document.body.classList.contains("vscode-light")&&(n.dataset.theme="light")}function tn({model:n,el:t,inspector:e,unpack:s,aligned:o,load:r}){t.dataset.lmSuppressShortcuts="true",Ze(t);let i=new MutationObserver(()=>Ze(t));i.observe(document.body,{attributes:!0,attributeFilter:["data-jp-theme-light","class"]});let a,c=!1,l=(u,m)=>{if(u.kind!=="weights"||!a)return;let{arrays:g}=s(o(Rt(m[0])));a.context.received(u.run,u.step,g)};n.on("msg:custom",l);async function f(){let u=n.get("kernel"),m=await r(u?.byteLength?o(Rt(u)):void 0);if(c)return;let g={weights:(b,k)=>n.send({kind:"weights",run:b,step:k})};a=e(t,s(o(Rt(n.get("payload")))),{kernel:m,host:g});let{state:d,context:p}=a,h=()=>{let b=n.get("selected"),k=p.runs[b.run??0]??p.runs[0];d.set({a:k.index,at:k.nearest(b.step),neurons:[...b.neurons??[]],off:[...b.frequencies??[]]})};n.on("change:selected",h),h();let w=b=>[...b??[]].sort((k,M)=>k-M),y=()=>{let{run:b=0,step:k,neurons:M,frequencies:$}=n.get("selected");return JSON.stringify({run:b,step:k,neurons:w(M),frequencies:w($)})};d.on(["a","at","neurons","off"],b=>{let k=p.runs[b.a],M={run:b.a,step:k.steps[b.at],neurons:w(b.neurons),frequencies:w(b.off)};JSON.stringify(M)!==y()&&(n.set("selected",M),n.save_changes())}),t.dataset.ready="true"}return f().catch(u=>{t.textContent=`The inspector could not be shown: ${u.message}`,console.error(u)}),()=>{c=!0,i.disconnect(),n.off("msg:custom",l),a?.stop()}}function en(n){let t=document.createElement("style");t.textContent=De,n.append(t)}async function Ds(){en(document.head);let n=document.getElementById("root");try{let t=Wt(await Bt(document.getElementById("circuitgrok-payload").textContent));if(t.content.sweep)Xe(n,t);else{let e=document.getElementById("circuitgrok-kernel"),s=await rt.load(e?await Bt(e.textContent):void 0);globalThis.circuitgrok=Tt(n,t,{kernel:s,page:!0})}n.dataset.ready="true"}catch(t){throw n.textContent=`This page could not be shown: ${t.message}`,t}}var Jr={render({model:n,el:t}){let e=document.createElement("div");return en(t),t.append(e),tn({model:n,el:e,inspector:Tt,unpack:Wt,aligned:Pe,load:s=>rt.load(s)})}};document.getElementById("circuitgrok-payload")&&Ds();export{Jr as default};
